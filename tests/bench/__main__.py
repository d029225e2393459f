"""``make bench``: measure the whole pipeline on an embedded stack of its own, print one table, write results.md.

``--quick`` takes a minute and small sizes, for a look; ``--only NAME`` takes some figures. Neither writes results.md.

``make bench AGAINST=<revision>`` (``--against``) measures this tree and another revision in one run, in turn: figures of different days
or machines can't be compared, ratios of one run can. It prints a table with the ratio and its spread, and takes ten minutes; ``FULL=1``
(``--full``) takes about an hour.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Collection

from rich.console import Console

from tests.bench import machine, table
from tests.bench.bench import opened, running
from tests.bench.compare.command import compare
from tests.bench.compare.run import NAMES as COMPARED
from tests.bench.compare.run import SHORT_NAMES as SHORT_FORM
from tests.bench.figures import FIGURES, Figures
from tests.bench.plan import LONG, QUICK, SHORT, WHOLE, Plan
from tests.bench.table import Row
from tests.support.stack import LocalStack

_WIDTH = 180
"""Columns where there is no terminal to ask."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small counts: about a minute")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of: {', '.join(FIGURES)}; against: {', '.join(COMPARED)}")
    parser.add_argument("--against", metavar="REVISION", help="compare this tree with another revision, in ten minutes")
    parser.add_argument("--full", action="store_true", help="with --against: longer and more windows, about an hour")
    chosen = parser.parse_args()
    if unknown := set(chosen.only or ()) - set(COMPARED if chosen.against else FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}")
    if chosen.full and not chosen.against:
        parser.error("--full goes with --against")
    return chosen


async def measure(stack: LocalStack, plan: Plan, names: Collection[str], console: Console, receiver_port: int) -> tuple[list[Row], str]:
    """The rows, and the name of the load generator."""
    async with opened(stack, plan, console, receiver_port) as bench:
        return await Figures(bench).take(names), bench.generator.name


def main() -> None:
    """Measure, print, and after a whole run write."""
    chosen, console = options(), Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    if chosen.against:
        names, plan = (COMPARED, LONG) if chosen.full else (SHORT_FORM, QUICK if chosen.quick else SHORT)
        compare(chosen.against, chosen.only or names, plan, console)
        return
    console.print("starting a stack", highlight=False)
    with running() as (stack, receiver_port):
        rows, generator = asyncio.run(measure(stack, QUICK if chosen.quick else WHOLE, chosen.only or FIGURES, console, receiver_port))
    facts = (machine.machine(), machine.versions(generator))
    heading = f"{machine.today()}, commit {machine.commit()}"
    console.print(table.terminal(rows, "\n".join([heading, *facts])))
    if not chosen.quick and not chosen.only:
        table.save(table.markdown(rows, heading, facts))


if __name__ == "__main__":
    main()
