"""Sizes of directories out of what exporters and a Prometheus expose, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

from jupyterhub_metrics.errors import SourceUnavailable
from jupyterhub_metrics.sources import dirsize
from jupyterhub_metrics.sources.dirsize import MAX_SIZE_BYTES, SERIES, Directory, read_sizes

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

EXPORTED = rb"""# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="11",patchlevel="7",version="3.11.7"} 1.0
# HELP dirsize_total_size_bytes Total Size of the Directory (in bytes)
# TYPE dirsize_total_size_bytes gauge
dirsize_total_size_bytes{directory="shared"} 4096.0
dirsize_total_size_bytes{directory="we\"ird\nname"} 4166.0
dirsize_total_size_bytes{directory="bob-40x-2ey"} 4873.0
dirsize_total_size_bytes{directory="ann"} 16441.0
# HELP dirsize_latest_mtime Newest modified file in the directory (as unix timestamp)
# TYPE dirsize_latest_mtime gauge
dirsize_latest_mtime{directory="shared"} 1.7953550301279738e+09
# TYPE dirsize_processing_time gauge
# TYPE dirsize_last_updated_ns gauge
dirsize_last_updated_ns{directory="ann"} 1.7953551772563834e+09
"""
"""What prometheus-dirsize-exporter 3.2 gave, shortened by series of other names."""

SIZES = {
    Directory(None, "shared"): 4096,
    Directory(None, 'we"ird\nname'): 4166,
    Directory(None, "bob-40x-2ey"): 4873,
    Directory(None, "ann"): 16441,
}

FEDERATED = b"""# TYPE dirsize_total_size_bytes untyped
dirsize_total_size_bytes{directory="ann",instance="10.0.0.7:8000",job="a",namespace="prod"} 9 1795
dirsize_total_size_bytes{directory="ann",instance="10.0.0.8:8000",job="a",namespace="prod"} 7 1795
dirsize_total_size_bytes{directory="ann",instance="10.0.0.9:8000",job="a",namespace="staging"} 5 1
"""


def series(directory: str, value: str) -> bytes:
    return f'{SERIES}{{directory="{directory}"}} {value}\n'.encode()


def test_the_exporters_own_answer_is_read() -> None:
    assert read_sizes(EXPORTED, TEXT).by_directory == SIZES
    assert read_sizes(EXPORTED + b"# EOF\n", OPENMETRICS).by_directory == SIZES


def test_of_an_answer_of_prometheus_the_namespace_counts_and_the_largest_of_two() -> None:
    assert read_sizes(FEDERATED, TEXT).by_directory == {
        Directory("prod", "ann"): 9,
        Directory("staging", "ann"): 5,
    }


def test_an_exporter_that_has_just_started_has_no_sizes_yet() -> None:
    assert read_sizes(f"# TYPE {SERIES} gauge\n".encode(), TEXT).by_directory == {}


@pytest.mark.parametrize(
    "value", ["NaN", "-1", "+Inf", "-Inf", str(MAX_SIZE_BYTES + 1), "1e300", "9" * 400]
)
def test_what_is_no_number_of_bytes_is_left_out(value: str) -> None:
    sizes = read_sizes(series("ann", "5") + series("bob", value), TEXT)
    assert sizes.by_directory == {Directory(None, "ann"): 5}
    assert sizes.unusable == 1


@pytest.mark.parametrize("labels", ["", "{}", '{directory=""}', '{path="/home/ann"}'])
def test_a_size_of_no_directory_is_left_out(labels: str) -> None:
    sizes = read_sizes(f"{SERIES}{labels} 7\n".encode(), TEXT)
    assert (sizes.by_directory, sizes.unusable) == ({}, 1)


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"<html><title>Sign in</title></html>", "text/html; charset=utf-8", "of text/html;"),
        (b"", TEXT, f"found no {SERIES}"),
        (b"# TYPE up gauge\nup 1\n", TEXT, f"found no {SERIES}"),
        (b"\x1f\x8b\x08\x00dirsize", TEXT, "else than UTF-8"),
        (f"<p>{SERIES}</p>".encode(), "text/html", "that cannot be read"),
        (series("ann", "much"), TEXT, "that cannot be read"),
        (f'{SERIES}{{directory="ann'.encode(), TEXT, "that cannot be read"),
        (EXPORTED, OPENMETRICS, "that cannot be read"),
        (series("a" * 20_000, "1"), TEXT, "a line of more than"),
        (b"", "", "an answer of no type"),
    ],
)
def test_what_is_no_such_answer_is_refused_in_one_line(
    body: bytes, content_type: str, said: str
) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        read_sizes(body, content_type)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_directories_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dirsize, "MAX_DIRECTORIES", 3)
    lines = [series(f"user-{number}", "1") for number in range(6)]
    assert len(read_sizes(b"".join(lines[:3]), TEXT).by_directory) == 3
    with pytest.raises(SourceUnavailable, match="more than 3 directories"):
        read_sizes(b"".join(lines), TEXT)


FRAGMENTS = st.sampled_from(
    [
        *(part.encode() for part in (SERIES, "directory", "namespace", "gauge", "NaN", "1e9")),
        *(b"{", b"}", b'"', b",", b"=", b" ", b"\\", b"\n", b"\t", b"\r", b"\xff", b"\x00"),
        *(b"# TYPE ", b"# HELP ", b"# EOF\n", b" # ", b"7", b"-", b"_total", b"\xc2\xa0"),
        *(b"__name__", b"histogram", b"le", b"quantile", b"counter", b"summary", b"\xe2\x80\xa8"),
    ]
)
ANSWERS = st.one_of(
    st.binary(max_size=200),
    st.lists(FRAGMENTS, max_size=30).map(b"".join),
    st.lists(FRAGMENTS, max_size=12).map(lambda parts: SERIES.encode() + b"".join(parts)),
    st.tuples(st.sampled_from([EXPORTED, FEDERATED]), st.integers(0, 900), FRAGMENTS).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
)


@given(ANSWERS, st.sampled_from([TEXT, OPENMETRICS, "text/html\r\nX: y", ""]))
def test_whatever_comes_is_sizes_or_one_line(body: bytes, content_type: str) -> None:
    try:
        sizes = read_sizes(body, content_type)
    except SourceUnavailable as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    else:
        assert all(0 <= size <= MAX_SIZE_BYTES for size in sizes.by_directory.values())
        assert all(directory.name for directory in sizes.by_directory)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.dictionaries(NAMES, st.integers(0, 2**53), max_size=8), st.booleans())
def test_what_the_official_client_writes_is_read_back(sizes: dict[str, int], of_text: bool) -> None:
    registry = CollectorRegistry()
    gauge = Gauge(
        SERIES, "Total Size of the Directory (in bytes)", ["directory"], registry=registry
    )
    for name, size in sizes.items():
        gauge.labels(name).set(size)
    encode, content_type = choose_encoder("" if of_text else "application/openmetrics-text")
    told = read_sizes(encode(registry), content_type)
    assert told.by_directory == {Directory(None, name): size for name, size in sizes.items()}
