"""The table of results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def render(results: Sequence[dict[str, Any]]) -> str:
    """One Markdown table, a variant a column."""
    columns = [{**_write_lines(result["rates"]), **{k: _show(v) for k, v in result.items()}} for result in results]
    names = [name for name in dict.fromkeys(name for column in columns for name in column) if name not in ("variant", "rows", "rates")]
    lines = [["", *(column["variant"] for column in columns)], ["---"] * (len(columns) + 1)]
    lines += [[name, *(column.get(name, "–") for column in columns)] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _write_lines(rates: Sequence[dict[str, float]]) -> dict[str, str]:
    speeds = [rate["rows_per_second"] for rate in rates]
    return {
        "rows/s, first tenth": _show(speeds[0]),
        "rows/s, last tenth": _show(speeds[-1]),
        "rows/s, mean": _show(statistics.harmonic_mean(speeds)),
        "server CPU µs/row": _show(statistics.mean(rate["server_micros"] for rate in rates)),
        "worst transaction ms": _show(max(rate["worst_commit_ms"] for rate in rates)),
        "client share": f"{statistics.mean(rate['client_share'] for rate in rates):.0%}",
    }


def _show(value: object) -> str:
    if isinstance(value, tuple | list):
        return " / ".join(map(_show, value))
    if isinstance(value, float):
        return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
    return str(value)
