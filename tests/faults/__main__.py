"""``python -m tests.faults``: rounds of random faults for a while, each checked whole; one table, and an exit code that says it all."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from signal import SIGTERM

from rich.console import Console
from rich.table import Table

from tests.faults.campaign import Limits, Tally, run
from tests.faults.cluster import running_cluster

_ROUND_SECONDS = 90.0
"""Of faults; then all is healed, drained and checked, on new workspaces the next time, so that memory stays bounded."""


def main() -> int:
    """Run until the time is over. Returns 1 when a promise was broken or a fault never fired."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the first round; each round adds one")
    arguments = parser.parse_args()
    seconds = arguments.seconds if arguments.hours is None else arguments.hours * 3600
    tally = asyncio.run(_rounds(seconds, arguments.seed, Console()))
    return 1 if tally.verdict.violations else 0


async def _rounds(seconds: float, seed: int, console: Console) -> Tally:
    total = Tally()
    began = time.monotonic()
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(SIGTERM, running.cancel)  # as an interrupt: what was started is ended
    async with running_cluster() as cluster:
        number = 0
        while (left := seconds - (time.monotonic() - began)) > 0:
            tally = await run(cluster, seed + number, Limits(seconds=min(left, _ROUND_SECONDS)))
            total.add(tally)
            number += 1
            console.print(_line(number, seed + number - 1, tally), highlight=False)
            for violation in tally.verdict.violations:
                console.print(violation, style="red", highlight=False, markup=False)
    console.print(_table(total, seed, number, time.monotonic() - began))
    return total


def _line(number: int, seed: int, tally: Tally) -> str:
    counts = tally.verdict.counts
    return (
        f"round {number}, seed {seed}: {tally.faults.total()} faults, {counts['events stored']:,} events, "
        f"drained in {counts['drain ms'] / 1000:.1f} s, {counts['violations']} violations"
    )


def _table(total: Tally, seed: int, rounds: int, seconds: float) -> Table:
    counts = total.verdict.counts
    table = Table("", "count", title=f"{rounds} rounds from seed {seed}, {seconds:,.0f} s", show_footer=True)
    table.columns[0].footer = "0 lost, 0 doubled, 0 forked, 0 gaps" if not counts["violations"] else "VIOLATIONS"
    table.columns[1].footer = f"{counts['violations']:,}"
    table.columns[1].justify = "right"
    for kind, count in sorted(total.faults.items()):
        table.add_row(kind, f"{count:,}")
    table.add_row("faults", f"{total.faults.total():,}", style="bold", end_section=True)
    for kind, count in sorted(counts.items()):
        if kind not in ("violations", "drain ms"):
            table.add_row(kind, f"{count:,}")
    table.add_row("longest drain, ms", f"{total.longest_drain_ms:,}")
    return table


if __name__ == "__main__":
    sys.exit(main())
