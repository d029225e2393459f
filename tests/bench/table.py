"""The one table of results, for the terminal and for ``results.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from tests.bench.meter import Cost
from tests.bench.stats import Percentiles

COLUMNS = ("figure", "result", "target", "detail")
RESULTS = Path(__file__).with_name("results.md")
_KEPT_RUNS = 3
_TITLE = """# Results of `make bench`

Everything on one machine over loopback: load generator, ingest and API, one worker, Kafka, Postgres, object store.
Newest first.
"""


class Row(NamedTuple):
    """One line. ``target`` is what the figure has to reach; empty where nothing is asked."""

    figure: str
    result: str
    target: str = ""
    detail: str = ""


def terminal(rows: Iterable[Row], caption: str) -> Table:
    """For people at a terminal."""
    table = Table(*COLUMNS, caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def markdown(rows: Iterable[Row], heading: str, facts: Sequence[str]) -> str:
    """A section: heading, facts as a list, table."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {heading}\n\n" + "".join(f"- {fact}\n" for fact in facts) + f"\n{table}\n"


def with_run(text: str, section: str) -> str:
    """The file's text with a new run on top; the oldest ones go."""
    _, *earlier = text.split("\n## ")
    kept = [f"## {run.rstrip()}\n" for run in earlier[: _KEPT_RUNS - 1]]
    return "\n".join([_TITLE, section, *kept])


def save(section: str) -> None:
    """Put a run on top of ``results.md``."""
    earlier = RESULTS.read_text() if RESULTS.exists() else ""
    RESULTS.write_text(with_run(earlier, section))


def rate(value: float) -> str:
    """``12,300/s``."""
    return f"{value:,.0f}/s"


def milliseconds(value: Percentiles) -> str:
    """``p50 4.2 ms, p99 11 ms`` of seconds."""
    return f"p50 {value.p50 * 1000:.1f} ms, p99 {value.p99 * 1000:.1f} ms"


def microseconds(value: float) -> str:
    """``4.2 µs`` of seconds."""
    return f"{value * 1e6:.1f} µs"


def cpu(cost: Cost, events: int) -> str:
    """CPU µs an event of each process: ``ingest 60.1 · worker 12.0``."""
    named = [f"{name} {seconds * 1e6 / events:.1f}" for name, seconds in cost.cpu.items() if seconds > 0]
    return " · ".join([*named, f"elsewhere {cost.elsewhere * 1e6 / events:.1f}"])


def share(cost: Cost, name: str) -> str:
    """The process's part of all CPU time spent: ``wrk 7 %``."""
    return f"{name} {cost.cpu.get(name, 0.0) / cost.machine:.0%}"


def cpu_row(name: str, cost: Cost, events: int, generator: str = "") -> Row:
    """``generator`` is the load generator whose part of all CPU time is told."""
    return Row(f"CPU µs an event, {name}", cpu(cost, events), "", f"{share(cost, generator)} of all CPU time" if generator else "")


def memory(peaks: Mapping[str, int]) -> str:
    """``ingest 142 MiB · worker 151 MiB``."""
    return " · ".join(f"{name} {held / 2**20:.0f} MiB" for name, held in peaks.items())
