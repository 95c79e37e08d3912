"""The pages of a real Hub in a real browser, as a user, an operator, an owner and a stranger."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from usage_hub import FORMULA, OWNED, OWNER, UsageHub, truth_of

from jupyterhub_metrics.service.api.resources import RESOURCES
from jupyterhub_metrics.service.figures import amount_in_words
from jupyterhub_metrics.service.wording import duration_in_words, hours_in_words

pytestmark = pytest.mark.needs("chromium")

SCREENSHOTS = os.environ.get("JUPYTERHUB_METRICS_SCREENSHOTS")
"""Folder to keep pictures of the pages in; none are kept without it."""

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


class Person:
    """Someone with a browser of their own, logged in by the Hub's own form."""

    def __init__(self, browser: Browser, hub: UsageHub, username: str) -> None:
        self.hub = hub
        self.context: BrowserContext = browser.new_context(viewport=DESKTOP)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{hub.hub.url}/hub/login?next=%2Fhub%2Fhome")
        self.page.fill("input[name=username]", username)
        self.page.fill("input[name=password]", hub.hub.password)
        self.page.click("#login_submit")
        self.page.wait_for_url("**/hub/home")
        self.complaints.clear()

    def open(self, path: str) -> int:
        """Opens a page of the service; gives its status."""
        answer = self.page.goto(f"{self.hub.hub.service_url}/{path}", wait_until="load")
        assert answer is not None
        return answer.status

    def figures(self) -> dict[str, str]:
        """The page's big numbers by their labels."""
        found = {}
        for figure in self.page.locator(".jhm-figures > div").all():
            words = figure.locator("dd").inner_text().splitlines()[0]
            found[figure.locator("dt").inner_text()] = words
        return found

    def table(self) -> list[list[str]]:
        rows = self.page.locator("table.jhm-table tbody tr").all()
        return [row.locator("th, td").all_inner_texts() for row in rows]

    def keep_picture(self, name: str) -> None:
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def no_fault(self) -> None:
        """Nobody is kept from using the page, and it breaks none of its own rules."""
        assert self.complaints == []
        # without preload: axe would fetch the Hub's stylesheets again, from wrong addresses
        options = {"preload": False, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        serious = [
            (fault["id"], fault["nodes"][0]["html"])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == []


@pytest.fixture(scope="module")
def person(browser: Browser, usage_hub: UsageHub) -> Iterator[Callable[[str], Person]]:
    """Gives the person of that name, who stays logged in for the whole module."""
    known: dict[str, Person] = {}

    def named(username: str) -> Person:
        if username not in known:
            known[username] = Person(browser, usage_hub, username)
        return known[username]

    yield named
    for one in known.values():
        one.context.close()


Named = Callable[[str], Person]


def test_a_user_finds_the_own_numbers_of_this_month_and_the_last(
    person: Named, usage_hub: UsageHub
) -> None:
    mira = person("mira")
    mira.page.goto(f"{usage_hub.hub.url}/hub/home")
    mira.page.get_by_role("link", name="My usage").first.click()
    mira.page.wait_for_load_state("networkidle")
    for month in (usage_hub.month, usage_hub.month.previous):
        if month != usage_hub.month:
            mira.page.get_by_role("link", name=re.compile(month.words)).click()
        truth = truth_of(usage_hub.of_user("mira"), month.since, month.until)
        figures = mira.figures()
        assert figures["Hours"] == hours_in_words(truth.seconds)
        assert figures["GiB-hours"] == amount_in_words(truth.gib_hours)
        assert figures["Core-hours"] == amount_in_words(truth.core_hours)
        assert figures["Starts"] == str(truth.starts)
        assert figures["Failed starts"] == str(truth.failures)
    mira.no_fault()


def test_the_calendar_and_the_timeline_are_true(person: Named, usage_hub: UsageHub) -> None:
    mira, month = person("mira"), usage_hub.month.previous
    mira.open(f"?month={month.text}")
    past = usage_hub.of_user("mira")
    titles = mira.page.locator(".jhm-calendar rect title").all_text_contents()
    days = dict(title.split(": ") for title in titles if ": " in title)
    for number in range(28):
        day = month.since + timedelta(days=number)
        truth = truth_of(past, day, day + timedelta(days=1))
        expected = duration_in_words(truth.seconds) if truth.seconds else "nothing"
        assert days[day.date().isoformat()] == expected
    drawn = mira.page.locator(".jhm-lane rect").count()
    inside = [s for s in past if s.started_at < month.until and s.ended_at > month.since]
    assert drawn == len(inside) == len(mira.table())


def test_sessions_are_filtered_by_server(person: Named, usage_hub: UsageHub) -> None:
    username = next(session.username for session in usage_hub.past if session.server_name)
    one = person(username)
    one.open("")
    one.page.select_option("#server", "paper")
    one.page.click("button:has-text('Show')")
    assert {row[0].split()[0] for row in one.table()} <= {"paper"}
    assert "server=paper" in one.page.url


def test_an_end_that_nobody_saw_shows_its_bounds(person: Named, usage_hub: UsageHub) -> None:
    unda, month = person("unda"), usage_hub.month.previous.previous
    unda.open(f"?month={month.text}")
    [row] = unda.table()
    began = month.since + timedelta(days=2)
    assert f"not seen: between {began + timedelta(hours=2):%Y-%m-%d %H:%M:%S}" in row[3]
    assert unda.figures()["Hours"] == "2.0"


def test_without_javascript_the_numbers_are_there_in_utc(
    browser: Browser, person: Named, usage_hub: UsageHub
) -> None:
    cookies = person("mira").context.cookies()
    context = browser.new_context(java_script_enabled=False, timezone_id="Asia/Tokyo")
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{usage_hub.hub.service_url}/")
    month = usage_hub.month
    truth = truth_of(usage_hub.of_user("mira"), month.since, month.until)
    assert hours_in_words(truth.seconds) in page.locator(".jhm-figures").inner_text()
    shown = page.locator("tbody time").first
    utc = datetime.fromisoformat((shown.get_attribute("datetime") or "").replace("Z", "+00:00"))
    assert shown.inner_text() == utc.strftime("%Y-%m-%d %H:%M:%S")
    assert "UTC" in page.locator("thead").first.inner_text()
    context.close()


def test_the_stranger_of_the_project_finds_the_groups_gpu_hours_in_three_clicks(
    person: Named, usage_hub: UsageHub
) -> None:
    """Find out how much of the GPU your group used last month and by whom."""
    owner, month = person(OWNER), usage_hub.month.previous
    owner.page.goto(f"{usage_hub.hub.url}/hub/home")
    owner.page.get_by_role("link", name=f"Usage of {OWNED}").click()
    owner.page.get_by_role("link", name=re.compile(month.words)).click()
    owner.page.get_by_role("link", name="GPU-hours").click()
    owner.page.wait_for_load_state("networkidle")
    truth = truth_of(usage_hub.of_group(OWNED), month.since, month.until)
    assert truth.gpu_hours > 0
    assert owner.figures()["GPU-hours"] == amount_in_words(truth.gpu_hours)
    table = owner.table()
    members = {session.username for session in usage_hub.of_group(OWNED)}
    found = {row[0]: row[2] for row in table}
    for username in members:
        own = [session for session in usage_hub.of_group(OWNED) if session.username == username]
        used = truth_of(own, month.since, month.until)
        if used.starts:
            assert found[username] == (amount_in_words(used.gpu_hours or None))
    hours = [float(row[2].replace(",", "")) for row in table if row[2] != "\u2013"]
    assert hours == sorted(hours, reverse=True)
    assert owner.page.locator(".jhm-plot canvas").is_visible()
    owner.no_fault()
    owner.keep_picture("group")


def test_an_operator_reads_everyone_sorted_searched_and_by_page(
    person: Named, usage_hub: UsageHub
) -> None:
    admin, month = person("admin"), usage_hub.month.previous
    assert admin.open(f"users?month={month.text}") == 200
    everyone = {
        name: truth_of(usage_hub.of_user(name), month.since, month.until)
        for name in {session.username for session in usage_hub.past}
    }
    table = {row[0]: row[1:] for row in admin.table()}
    assert set(table) == {name for name, truth in everyone.items() if truth.starts}
    for name, row in table.items():
        assert row[0] == hours_in_words(everyone[name].seconds)
        assert row[4:] == [str(everyone[name].starts), str(everyone[name].failures)]
    admin.no_fault()
    admin.keep_picture("users")
    admin.page.get_by_role("link", name="User", exact=True).click()
    assert [row[0] for row in admin.table()] == sorted(table)
    assert admin.page.locator("th[aria-sort=ascending]").inner_text().startswith("User")
    admin.page.fill("#search", "MIR")
    admin.page.press("#search", "Enter")
    assert [row[0] for row in admin.table()] == ["mira"]
    admin.page.get_by_role("link", name="mira").click()
    expect(admin.page.locator("h1")).to_have_text("Usage of mira")
    assert "Operator 'admin' read the usage of user 'mira'" in usage_hub.hub.log.read_text()


@pytest.mark.parametrize("by", ["profile", "image", "node", "group", "hub"])
def test_an_operator_reads_usage_by_any_dimension(
    person: Named, usage_hub: UsageHub, by: str
) -> None:
    admin, month = person("admin"), usage_hub.month.previous
    assert admin.open(f"usage?by={by}&month={month.text}") == 200
    whole = truth_of(usage_hub.past, month.since, month.until)
    assert admin.figures()["Hours"] == hours_in_words(whole.seconds)
    if by in ("profile", "image", "node"):
        found = {row[0]: row[2] for row in admin.table()}
        for value, sessions in usage_hub.by(by).items():
            truth = truth_of(sessions, month.since, month.until)
            if truth.seconds:
                assert found[value] == hours_in_words(truth.seconds)
    assert admin.page.locator(".jhm-plot canvas").is_visible()
    if by == "profile":
        admin.no_fault()
        admin.keep_picture("by-profile")


def test_an_operator_sees_what_runs_and_how_it_is_recorded(
    person: Named, usage_hub: UsageHub
) -> None:
    admin = person("admin")
    assert admin.open("running") == 200
    [row] = admin.table()
    assert row[0] == "runa"
    assert row[1] == FORMULA
    admin.no_fault()
    assert admin.open("recording") == 200
    text = admin.page.locator("main").inner_text()
    assert f"Recorder of {usage_hub.hub.name}" in text
    assert "REST API" in text
    admin.no_fault()
    assert admin.open("groups") == 200
    assert OWNED in {row[0] for row in admin.table()}
    admin.no_fault()
    assert admin.open("api") == 200
    assert admin.page.locator("h2 code").count() == len(RESOURCES)
    admin.no_fault()


def test_a_stranger_sees_nothing_of_others(person: Named) -> None:
    stranger = person("newcomer")
    for path in ("users", "users/mira", "users/nobody", "usage", "recording", f"groups/{OWNED}"):
        assert stranger.open(path) == 403, path
        assert "may not see" in stranger.page.locator("main").inner_text()
    assert stranger.open("running") == 200
    assert stranger.table() == []
    assert stranger.open("groups") == 200
    assert OWNED not in stranger.page.locator("main").inner_text()
    stranger.open("")
    assert "No server has run" in stranger.page.locator("main").inner_text()
    assert stranger.page.get_by_role("link", name="Users").count() == 0


def test_bad_addresses_are_refused_and_name_what_is_wrong(person: Named) -> None:
    mira = person("mira")
    for query, field in (
        ("?month=2026-13", "month"),
        ("?zone=Mars", "zone"),
        ("?since=2026-03-02&until=2026-03-01", "until"),
        ("?cursor=forged", "cursor"),
        ("?nonsense=1", "nonsense"),
        ("?month=%ff", "month"),
    ):
        assert mira.open(query) == 400, query
        assert f"{field}:" in mira.page.locator("main").inner_text()
    assert person("admin").open("users/nobody%20at%20all") == 404


def test_the_hubs_home_and_admin_pages_show_usage(person: Named, usage_hub: UsageHub) -> None:
    mira, month = person("mira"), usage_hub.month
    mira.complaints.clear()
    mira.page.goto(f"{usage_hub.hub.url}/hub/home")
    card = mira.page.locator("#jupyterhub-metrics-home")
    expect(card).to_be_visible()
    truth = truth_of(usage_hub.of_user("mira"), month.since, month.until)
    assert f"{hours_in_words(truth.seconds)} hours" in card.inner_text()
    assert "Usage of" not in card.inner_text()
    mira.keep_picture("home")
    assert mira.complaints == []
    admin = person("admin")
    admin.page.goto(f"{usage_hub.hub.url}/hub/admin")
    panel = admin.page.locator("#jupyterhub-metrics-admin")
    expect(panel).to_be_visible()
    expect(admin.page.get_by_text("Add Users")).to_be_visible()
    most = max(
        {session.username for session in usage_hub.past},
        key=lambda name: truth_of(usage_hub.of_user(name), month.since, month.until).seconds,
    )
    first = panel.locator("tbody tr").first
    used = truth_of(usage_hub.of_user(most), month.since, month.until)
    assert "runa" in panel.inner_text() or first.locator("th").inner_text() == most
    assert hours_in_words(used.seconds) in panel.inner_text()
    admin.keep_picture("admin")
    panel.locator("input[type=search]").fill("tom")
    panel.get_by_role("button", name="Search").click()
    assert [row[0] for row in admin.table()] == ["tomas"]


def test_the_hubs_pages_stay_whole_while_the_service_hangs(
    person: Named, usage_hub: UsageHub
) -> None:
    admin = person("admin")
    [service] = usage_hub.hub.running("jupyterhub_metrics.service")
    service.send_signal(signal.SIGSTOP)
    try:
        admin.page.goto(f"{usage_hub.hub.url}/hub/home", wait_until="domcontentloaded")
        expect(admin.page.locator("#start")).to_be_visible()
        expect(admin.page.locator("#jupyterhub-metrics-home")).to_be_hidden()
        admin.page.goto(f"{usage_hub.hub.url}/hub/admin", wait_until="domcontentloaded")
        expect(admin.page.get_by_text("Add Users")).to_be_visible()
        expect(admin.page.locator("#jupyterhub-metrics-admin")).to_be_hidden()
    finally:
        service.send_signal(signal.SIGCONT)
    admin.complaints.clear()


def test_times_come_in_the_browsers_zone_and_say_so(
    browser: Browser, person: Named, usage_hub: UsageHub
) -> None:
    cookies = person("mira").context.cookies()
    context = browser.new_context(timezone_id="Asia/Tokyo")
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(f"{usage_hub.hub.service_url}/?month={usage_hub.month.previous.text}")
    shown = page.locator("tbody time").first
    utc = datetime.fromisoformat((shown.get_attribute("datetime") or "").replace("Z", "+00:00"))
    local = utc + timedelta(hours=9)
    expect(shown).to_have_text(local.strftime("%Y-%m-%d %H:%M:%S"))
    assert "Asia/Tokyo" in page.locator("thead").first.inner_text()
    assert "Times are in Asia/Tokyo" in page.locator(".jhm-period").inner_text()
    context.close()


PAGES = [
    ("mira", ""),
    ("admin", "users"),
    ("admin", "usage"),
    ("admin", "groups"),
    ("admin", "running"),
    ("admin", "recording"),
    ("admin", "api"),
    (OWNER, f"groups/{OWNED}"),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_enough_contrast(person: Named, theme: str) -> None:
    for username, path in PAGES:
        one = person(username)
        one.open(path)
        shown = one.page.locator("html")
        if shown.get_attribute("data-bs-theme") != theme:
            one.page.click("#jhm-theme")
            # colours take a moment to change, but not on a page that opens with them
            one.open(path)
        assert shown.get_attribute("data-bs-theme") == theme
        one.no_fault()
        assert one.page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]
        one.keep_picture(f"{path.replace('/', '-') or 'mine'}-{theme}")
    for username in ("mira", "admin"):
        # the Hub's own pages keep the choice
        one = person(username)
        one.page.goto(f"{one.hub.hub.url}/hub/home")
        assert one.page.locator("html").get_attribute("data-bs-theme") == theme


def test_a_keyboard_reaches_the_content_first_and_then_everything(person: Named) -> None:
    mira = person("mira")
    mira.open("")
    mira.page.keyboard.press("Tab")
    assert mira.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    mira.page.keyboard.press("Enter")
    assert mira.page.evaluate("document.activeElement.id") == "main"
    mira.page.keyboard.press("Tab")
    assert mira.page.evaluate("document.activeElement.rel") == "prev"


@pytest.mark.parametrize(("username", "path"), PAGES)
def test_a_phone_needs_no_sideways_scrolling(person: Named, username: str, path: str) -> None:
    one = person(username)
    one.page.set_viewport_size(PHONE)
    try:
        one.open(path)
        assert one.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        one.keep_picture(f"phone-{path.replace('/', '-') or 'mine'}")
    finally:
        one.page.set_viewport_size(DESKTOP)


def test_a_page_is_small(person: Named, usage_hub: UsageHub) -> None:
    owner = person(OWNER)
    sizes: list[int] = []
    owner.page.on(
        "requestfinished",
        lambda request: (
            sizes.append(request.sizes()["responseBodySize"])
            if "/services/" in request.url
            else None
        ),
    )
    owner.open(f"groups/{OWNED}")
    owner.page.wait_for_load_state("networkidle")
    assert 0 < sum(sizes) < 300_000
