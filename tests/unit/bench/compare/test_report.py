"""The table of a comparison."""

from __future__ import annotations

from tests.bench.compare.pairing import Better, Comparison, Metric, Pair
from tests.bench.compare.report import Row, rows, value, warnings, with_share_of_echo, yardstick
from tests.bench.echo import EchoWindow
from tests.bench.load import Load
from tests.bench.stats import Percentiles

FASTER = Comparison(Metric("accepted", "/s", Better.HIGHER), (Pair(1100, 1000), Pair(1260, 1200)))
UNCLEAR = Comparison(Metric("p99", "ms"), (Pair(8, 10), Pair(12, 10)))
PERHAPS = Comparison(Metric("p50", "ms"), (Pair(11, 10), Pair(20, 10)))
INGEST = Comparison(Metric("ingest", "µs", is_detail=True), (Pair(60, 70), Pair(62, 74)))
WORKER = Comparison(Metric("worker", "µs", is_detail=True), (Pair(5, 5), Pair(5, 6)))


def test_a_metric_has_a_row_and_its_details_stand_in_it() -> None:
    assert rows("single", [FASTER, UNCLEAR, INGEST, WORKER]) == [
        Row("single: accepted", "1,180/s", "1,100/s", "1.08", "1.05–1.10", "better"),
        Row("single: p99", "10.0 ms", "10.0 ms", "1.00", "0.80–1.20", "within spread", "ingest 61.0 / 72.0 · worker 5.0 / 5.5"),
    ]


def test_rows_that_show_no_difference_or_no_clear_one_are_counted() -> None:
    lone = Comparison(FASTER.metric, FASTER.pairs[:1])
    assert warnings([FASTER, INGEST]) == []
    found = warnings([FASTER, UNCLEAR, UNCLEAR, PERHAPS, lone, INGEST])
    assert [line.split(":")[0] for line in found] == [
        "2 of 5 rows are within their spread",
        "1 of 5 rows have a question mark",
        "1 of 5 rows have one pair of windows and so no spread",
    ]


def test_the_yardsticks_spread_is_of_its_own_windows() -> None:
    windows = [EchoWindow(rate, 40e-6, Load(1, 1.0, Percentiles(0, 0), 0, 0)) for rate in (9_000, 10_000, 12_000)]
    found = yardstick("echo", windows)
    assert (found.this, found.spread) == ("10,000/s", "0.90–1.20")
    assert found.detail.startswith("40.0 µs of CPU a request")


def test_a_posting_figure_is_also_a_share_of_the_echo() -> None:
    windows = [EchoWindow(20, 85e-6, Load(1, 1.0, Percentiles(0, 0), 0, 0))]
    (row,) = rows("batches", [FASTER])
    assert with_share_of_echo(row, FASTER, 100, windows).detail == "0.59 / 0.55 of the bare echo"


def test_values_have_their_units() -> None:
    assert value(12345.6, "/s") == "12,346/s"
    assert value(4.25, "ms") == "4.2 ms"
