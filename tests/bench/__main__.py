"""``make bench``: measure the whole pipeline on an embedded stack of its own, print one table, write results.md.

``--quick`` takes a minute and small sizes, for a look; ``--only NAME`` takes some figures. Neither writes results.md.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Collection

from rich.console import Console

from tests.bench import machine, table
from tests.bench.bench import opened, running
from tests.bench.figures import FIGURES, Figures
from tests.bench.plan import QUICK, WHOLE, Plan
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
    parser.add_argument("--only", nargs="+", choices=FIGURES, metavar="NAME", help=f"some of: {', '.join(FIGURES)}")
    return parser.parse_args()


async def measure(stack: LocalStack, plan: Plan, names: Collection[str], console: Console, receiver_port: int) -> tuple[list[Row], str]:
    """The rows, and the name of the load generator."""
    async with opened(stack, plan, console, receiver_port) as bench:
        return await Figures(bench).take(names), bench.generator.name


def main() -> None:
    """Measure, print, and after a whole run write."""
    chosen, console = options(), Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
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
