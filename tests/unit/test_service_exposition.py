"""What a scrape is answered with, in each format and coding."""

from __future__ import annotations

import gzip
import zlib

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from jupyterhub_metrics.service.exposition import MAX_FORMATS, Rendered, answer
from jupyterhub_metrics.service.labels import label_value
from jupyterhub_metrics.service.present_families import family

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ODD = 'a "quoted"\nline \\ with \udcff and 1 more'


def flow() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("flow", "What changes with each scrape", registry=registry).set(2)
    return registry


def snapshot(value: float = 1, label: str = ODD) -> list[Metric]:
    return [family("snapshot", "What changes with a snapshot", ["odd"], {(label,): value})]


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS])
def test_both_parts_are_one_answer_compressed_or_not(accept: str) -> None:
    shown = Rendered(snapshot())
    body, headers = answer(shown, flow(), accept, "")
    packed, packed_headers = answer(shown, flow(), accept, "gzip, br")
    assert "Content-Encoding" not in headers
    assert packed_headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == body
    # readers that take one member only get all of it
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(packed) == body
    assert reader.eof
    assert reader.unused_data == b""
    parse = openmetrics if "openmetrics" in headers["Content-Type"] else plain
    found = {one.name: one.samples[0] for one in parse(body.decode())}
    assert found["flow"].value == 2
    assert found["snapshot"].labels == {"odd": label_value(ODD)}


def test_gzip_is_not_sent_to_who_refuses_it() -> None:
    for refuses in ("", "gzip;q=0", "br", "gzip; q=0.0"):
        assert "Content-Encoding" not in answer(Rendered(()), flow(), "", refuses)[1]


def test_a_snapshot_is_rendered_before_it_is_asked_for() -> None:
    first = Rendered(snapshot())
    answer(first, flow(), OPENMETRICS, "")
    second = first.succeeded_by(snapshot(7))
    [content_type] = second.kept
    assert "openmetrics" in content_type
    assert b"} 7.0" in answer(second, flow(), OPENMETRICS, "")[0]
    assert b"} 1.0" in answer(first, flow(), OPENMETRICS, "")[0]


def test_callers_cannot_make_it_keep_more_and_more() -> None:
    shown = Rendered(snapshot())
    for minor in range(3 * MAX_FORMATS):
        answer(shown, flow(), f"application/openmetrics-text; version=1.{minor}.0", "")
    assert len(shown.kept) <= MAX_FORMATS


def test_a_label_stays_itself_unless_it_must_not() -> None:
    assert label_value(None) == ""
    assert label_value("Zoë") == "Zoë"
    assert label_value("x" * 256) == "x" * 256
    one, other = label_value("x" * 9999), label_value("x" * 9998 + "y")
    assert len(one) == len(other) == 256
    assert one != other
    assert "…" in one
    assert label_value("\udcff").encode() == rb"\udcff"
