"""The table of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from rich.table import Table

from tests.bench.compare.pairing import Comparison, Verdict
from tests.bench.echo import EchoWindow

COLUMNS = ("figure", "this", "other", "ratio", "spread", "verdict", "detail")


class Row(NamedTuple):
    """A line; ``ratio`` is this / other."""

    figure: str
    this: str
    other: str = ""
    ratio: str = ""
    spread: str = ""
    verdict: str = ""
    detail: str = ""


def rows(figure: str, comparisons: Iterable[Comparison]) -> list[Row]:
    """A row for each metric; those that explain the one before it stand in its last column."""
    found: list[Row] = []
    for each in comparisons:
        if each.metric.is_detail:
            found[-1] = found[-1]._replace(detail=" · ".join(filter(None, [found[-1].detail, _detail(each)])))
        else:
            found.append(_row(figure, each))
    return found


def yardstick(figure: str, windows: Sequence[EchoWindow]) -> Row:
    """The echo's row: it is the same for both builds, so its spread is the machine's own."""
    rates = [window.rate for window in windows]
    return Row(
        f"{figure}: requests a second",
        value(median(rates), "/s"),
        spread=f"{min(rates) / median(rates):.2f}–{max(rates) / median(rates):.2f}",
        detail=f"{value(median(window.cpu for window in windows) * 1e6, 'µs')} of CPU a request; spread of its own windows",
    )


def with_share_of_echo(row: Row, accepted: Comparison, batch: int, windows: Sequence[EchoWindow]) -> Row:
    """The row of ``accepted`` with what both builds reach of the echo's rate; a request holds ``batch`` events."""
    served = median(window.rate for window in windows)
    shares = (events / batch / served for events in (accepted.this, accepted.other))
    return row._replace(detail=f"{' / '.join(f'{share:.2f}' for share in shares)} of the bare echo")


def warnings(comparisons: Iterable[Comparison]) -> list[str]:
    """What a reader of the verdicts has to know."""
    shown = [each.verdict for each in comparisons if not each.metric.is_detail]
    meanings = {
        "are within their spread: the pairs disagree on the direction, so they show no difference.": (Verdict.WITHIN_SPREAD,),
        "have a question mark: all pairs agree, but the spread exceeds the difference. Measure again.": (
            Verdict.PERHAPS_BETTER,
            Verdict.PERHAPS_WORSE,
        ),
        "have one pair of windows and so no spread: they show nothing.": (Verdict.ONE_PAIR,),
    }
    counts = {words: sum(shown.count(verdict) for verdict in verdicts) for words, verdicts in meanings.items()}
    return [f"{count} of {len(shown)} rows {words}" for words, count in counts.items() if count]


def _row(figure: str, each: Comparison) -> Row:
    unit = each.metric.unit
    low, high = each.spread
    return Row(
        f"{figure}: {each.metric.name}",
        value(each.this, unit),
        value(each.other, unit),
        f"{each.ratio:.2f}",
        f"{low:.2f}–{high:.2f}",
        each.verdict,
    )


def _detail(each: Comparison) -> str:
    return f"{each.metric.name} {each.this:.1f} / {each.other:.1f}"


def terminal(rows: Iterable[Row]) -> Table:
    """For people at a terminal."""
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    return table


def value(number: float, unit: str) -> str:
    """``12,300/s``, ``4.2 ms``."""
    return f"{number:,.0f}{unit}" if unit.startswith("/") else f"{number:,.1f} {unit}"
