"""The table of results, and the file that keeps the last runs."""

from __future__ import annotations

from tests.bench.meter import Cost
from tests.bench.stats import Percentiles
from tests.bench.table import Row, cpu, markdown, memory, microseconds, milliseconds, rate, share, with_run

ROWS = [Row("single POST", "12,000/s", "≥ 8,000/s", "64 connections"), Row("verify", "150,000/s")]


def test_a_run_is_a_section_with_its_facts_and_a_table() -> None:
    assert markdown(ROWS, "today, commit abc", ("a machine", "versions")) == (
        "## today, commit abc\n\n- a machine\n- versions\n\n"
        "| figure | result | target | detail |\n| --- | --- | --- | --- |\n"
        "| single POST | 12,000/s | ≥ 8,000/s | 64 connections |\n| verify | 150,000/s |  |  |\n"
    )


def test_the_newest_run_stands_on_top_and_the_fourth_goes() -> None:
    text = ""
    for day in range(1, 6):
        text = with_run(text, markdown(ROWS, f"day {day}", ()))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Results of `make bench`", "## day 5", "## day 4", "## day 3"]
    assert text.count("| verify |") == 3


def test_figures_are_written_with_their_units() -> None:
    assert rate(12345.6) == "12,346/s"
    assert milliseconds(Percentiles(0.0042, 0.0113)) == "p50 4.2 ms, p99 11.3 ms"
    assert microseconds(0.00000424) == "4.2 µs"
    assert memory({"ingest": 150 << 20, "wrk": 3 << 20}) == "ingest 150 MiB · wrk 3 MiB"


def test_cpu_is_told_per_event_and_as_a_share_of_all() -> None:
    cost = Cost({"ingest": 6.0, "worker": 1.0, "wrk": 1.0, "idle": 0.0}, 10.0)
    assert cpu(cost, 100_000) == "ingest 60.0 · worker 10.0 · wrk 10.0 · elsewhere 20.0"
    assert share(cost, "wrk") == "wrk 10%"
