"""The usage page as a browser shows it: both themes, a phone, with and without JavaScript."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hub_process import HubProcess
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from service_fixtures import event, run_of

from jupyterhub_metrics.model import Event

pytestmark = pytest.mark.needs("chromium")

SCREENSHOTS = os.environ.get("JUPYTERHUB_METRICS_SCREENSHOTS")
"""Folder to keep pictures of the pages in; none are kept without it."""


def month_of_work(hub: str, now: datetime) -> list[Event]:
    """What a month may hold: all kinds of ends, an unseen one, failures, and a running server."""
    image = "quay.io/jupyter/scipy-notebook:2026-11-02"
    facts = {
        "image": image,
        "profile": "Large (8 cores, 32 GB)",
        "node": "node-07.cluster.example",
    }
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    events = run_of(hub, first - timedelta(hours=3), timedelta(hours=5, minutes=1), reason="died")
    ends = (
        {"reason": "stopped_by_user", "actor": "user:alice"},
        {"reason": "stopped_by_service", "actor": "service:jupyterhub-idle-culler"},
        {"reason": "stopped_by_admin", "actor": "user:bob"},
        {"reason": "hub_shutdown", "actor": "hub:shutdown"},
        {"reason": "died", "exit_status": -9},
    )
    span = (now - first) / 8
    for index, end in enumerate(ends):
        began = first + span * (index + 1)
        length = min(timedelta(hours=2, minutes=13 * index), span * 0.6)
        events += run_of(hub, began, length, ready_after=length / 100, facts=facts, **end)
    failed = first + span * 6
    events.append(event(hub, started_at=failed, server_name="gpu"))
    events.append(
        event(
            hub,
            "failed",
            started_at=failed,
            occurred_at=failed + span / 100,
            server_name="gpu",
            reason="timeout",
        )
    )
    unseen = first + span * 6.5
    events += run_of(hub, unseen, None, server_name="a-long-named-server-for-teaching")
    events.append(
        event(
            hub,
            "stopped",
            started_at=unseen,
            server_name="a-long-named-server-for-teaching",
            occurred_at=unseen + span / 10,
            not_before=unseen + span / 10,
            not_after=unseen + span / 5,
            source="hub_start",
            reason="died",
        )
    )
    return events + run_of(hub, now - span / 4, None, facts=facts)


def apart(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` in a loop of its own; Playwright keeps this thread's loop running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    hub = HubProcess()

    async def start() -> None:
        await hub.start()
        await hub.post_events(month_of_work(hub.name, datetime.now(timezone.utc)))
        hub.client.close()

    try:
        apart(start())
        yield hub
    finally:
        apart(hub.close())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def logged_in(context: BrowserContext, hub: HubProcess, username: str = "alice") -> Page:
    """The Hub's home page after its own login."""
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fhome")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", hub.password)
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")
    return page


def keep_picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def test_the_page_breaks_none_of_its_own_rules(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = logged_in(context, hub)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto(f"{hub.service_url}/", wait_until="networkidle")
    keep_picture(page, "usage-light")
    assert complaints == []
    assert page.locator("h1").inner_text() == "My usage"
    assert page.locator("table caption").count() == 1
    assert page.locator("tbody tr").count() == 9
    assert page.evaluate("document.querySelector('.jpy-logo').naturalWidth") > 0
    context.close()


def test_the_theme_is_the_one_that_the_hub_keeps(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 1280, "height": 900})
    page = logged_in(context, hub)
    page.goto(f"{hub.service_url}/", wait_until="networkidle")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    keep_picture(page, "usage-dark")
    page.click("#jhm-theme")
    assert page.locator("html").get_attribute("data-bs-theme") == "light"
    page.goto(f"{hub.url}/hub/home")
    assert page.locator("html").get_attribute("data-bs-theme") == "light"
    context.close()


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = logged_in(context, hub)
    page.goto(f"{hub.service_url}/", wait_until="networkidle")
    keep_picture(page, "usage-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_times_come_in_the_browsers_zone_and_say_so(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = logged_in(context, hub)
    page.goto(f"{hub.service_url}/", wait_until="networkidle")
    shown = page.locator("tbody time").first
    utc = datetime.fromisoformat((shown.get_attribute("datetime") or "").replace("Z", "+00:00"))
    local = utc + timedelta(hours=9)
    assert shown.inner_text() == local.strftime("%Y-%m-%d %H:%M:%S")
    assert "Asia/Tokyo" in page.locator("thead").inner_text()
    assert "Times are in Asia/Tokyo" in page.locator(".jhm-period").inner_text()
    context.close()


def test_without_javascript_times_are_utc_and_say_so(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo")
    cookies = logged_in(context, hub).context.cookies()
    context.close()
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{hub.service_url}/")
    shown = page.locator("tbody time").first
    utc = datetime.fromisoformat((shown.get_attribute("datetime") or "").replace("Z", "+00:00"))
    assert shown.inner_text() == utc.strftime("%Y-%m-%d %H:%M:%S")
    assert "UTC" in page.locator("thead").inner_text()
    assert not page.locator("#jhm-theme").is_visible()
    context.close()


def test_someone_without_sessions_reads_how_to_begin(browser: Browser, hub: HubProcess) -> None:
    context = browser.new_context()
    page = logged_in(context, hub, "newcomer")
    page.goto(f"{hub.service_url}/", wait_until="networkidle")
    keep_picture(page, "usage-empty")
    assert "No server has run this month" in page.locator("main").inner_text()
    context.close()
