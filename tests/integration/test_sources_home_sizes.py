"""Sizes of homes, asked over real HTTP from what speaks as prometheus-dirsize-exporter does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_dirsize import FakeDirsize, Fault
from tornado.web import RequestHandler

from jupyterhub_metrics.errors import ConfigurationError, SourceUnavailable
from jupyterhub_metrics.sources import home_sizes
from jupyterhub_metrics.sources.dirsize import Directory
from jupyterhub_metrics.sources.home_sizes import HomeSizes

TOKEN = "the-token.of-the=exporter"


@pytest.fixture
async def exporter() -> AsyncIterator[FakeDirsize]:
    made = FakeDirsize(ann=16441, shared=4096)
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def source() -> AsyncIterator[HomeSizes]:
    made = HomeSizes(timeout_seconds=5)
    yield made
    made.close()


async def test_sizes_are_read_again_and_again(exporter: FakeDirsize, source: HomeSizes) -> None:
    told = await source.read(exporter.url)
    assert told.by_directory == {Directory(None, "ann"): 16441, Directory(None, "shared"): 4096}
    exporter.sizes["ann"] = 17000
    assert (await source.read(exporter.url)).by_directory[Directory(None, "ann")] == 17000


async def test_what_prometheus_is_asked_for_reaches_it_whole(
    exporter: FakeDirsize, source: HomeSizes
) -> None:
    wanted = 'dirsize_total_size_bytes{namespace="my prod"}'
    await source.read(f"http://127.0.0.1:{exporter.port}/federate?match[]={wanted}")
    [handler] = exporter.asked
    assert handler.get_query_argument("match[]") == wanted


async def test_the_token_comes_from_its_file_and_may_rotate(
    exporter: FakeDirsize, source: HomeSizes, tmp_path: Path
) -> None:
    exporter.token = TOKEN
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    source.token_file = str(path)
    assert len((await source.read(exporter.url)).by_directory) == 2
    exporter.token = "another-one"
    with pytest.raises(SourceUnavailable, match=r"found status 401.*token_file") as caught:
        await source.read(exporter.url)
    assert TOKEN not in str(caught.value)
    path.write_text("another-one\n")
    assert len((await source.read(exporter.url)).by_directory) == 2


@pytest.mark.parametrize("content", [None, "", "two\nlines", "tökën"])
async def test_a_token_that_cannot_be_sent_is_told_without_it(
    exporter: FakeDirsize, source: HomeSizes, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    source.token_file = str(path)
    with pytest.raises(ConfigurationError, match=str(path)) as caught:
        await source.read(exporter.url)
    assert not content or content not in str(caught.value)
    assert exporter.asked == []


def answers(body: str, content_type: str = "text/plain", status: int = 200) -> Fault:
    async def fault(handler: RequestHandler) -> None:
        handler.set_status(status)
        handler.set_header("Content-Type", content_type)
        handler.finish(body)

    return fault


async def redirects(handler: RequestHandler) -> None:
    handler.redirect("/metrics?again=1")


async def dawdles(handler: RequestHandler) -> None:
    await asyncio.sleep(0.5)


async def breaks_off(handler: RequestHandler) -> None:
    stream = handler.detach()
    await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\ndirsize_total")
    stream.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answers("<html>Sign in</html>", "text/html"), "found no dirsize_total_size_bytes in"),
        (answers("", status=503), "found status 503; expected 200"),
        (redirects, "found status 302; expected 200; put the address that it leads to"),
        (dawdles, "expected an answer within 0.2 seconds"),
        (breaks_off, "expected an answer"),
    ],
    ids=["html", "503", "redirect", "slow", "cut"],
)
async def test_what_is_no_answer_is_one_line_without_a_secret(
    exporter: FakeDirsize, source: HomeSizes, tmp_path: Path, fault: Fault, said: str
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    source.token_file = str(tmp_path / "token")
    source.timeout_seconds = 0.2 if fault is dawdles else 5
    exporter.fault = fault
    with pytest.raises(SourceUnavailable) as caught:
        await source.read(f"{exporter.url}?key={TOKEN}")
    assert str(caught.value).startswith(f"{exporter.url}: found ")
    assert said in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(exporter.asked) == 1, "nobody is followed elsewhere"
    exporter.fault = None
    assert len((await source.read(exporter.url)).by_directory) == 2


async def test_silence_is_one_line(source: HomeSizes) -> None:
    with pytest.raises(SourceUnavailable, match=r"127.0.0.1:1/metrics: found .*refused"):
        await source.read("http://127.0.0.1:1/metrics")


@pytest.mark.parametrize("chunked", [False, True])
async def test_too_long_an_answer_is_not_read_to_its_end(
    exporter: FakeDirsize,
    source: HomeSizes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    chunked: bool,
) -> None:
    monkeypatch.setattr(home_sizes, "MAX_ANSWER_BYTES", 200_000)
    sent = 0
    gone = asyncio.Event()

    async def endless(handler: RequestHandler) -> None:
        nonlocal sent
        if not chunked:
            handler.set_header("Content-Length", str(2**40))
        try:
            while True:
                handler.write(b"#" * 100_000)
                await handler.flush()
                sent += 100_000
        finally:
            gone.set()

    exporter.fault = endless
    caplog.set_level(logging.CRITICAL, "tornado")
    with pytest.raises(SourceUnavailable, match="found more than 200000 bytes; expected less"):
        await source.read(exporter.url)
    await asyncio.wait_for(gone.wait(), 20)
    assert sent < 50_000_000


@pytest.mark.parametrize(
    "url",
    ["", "exporter:8000", "ftp://exporter/metrics", "http:///metrics", "http://x:99999/", "http://[",
     "http://ann:hunter2@exporter/metrics", "http://exporter/\nmetrics"],
)  # fmt: skip
def test_what_is_no_address_is_told_at_the_start_without_it(url: str) -> None:
    source = HomeSizes(urls=["http://exporter:8000/metrics", url])
    with pytest.raises(ConfigurationError, match=r"found HomeSizes.urls\[1\] that is none") as told:
        assert source.configured
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("urls", "interval", "asked"),
    [([], 300, False), (["http://e/metrics"], 0, False), (["https://e:8000/metrics"], 300, True)],
)
def test_who_is_asked(urls: list[str], interval: float, asked: bool) -> None:
    assert HomeSizes(urls=urls, interval_seconds=interval).configured is asked
