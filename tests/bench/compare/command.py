"""``python -m tests.bench --against REVISION``: check out, start, measure, print."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Collection, Sequence

from rich.console import Console

from tests.bench import machine
from tests.bench.compare import report
from tests.bench.compare.build import Build, running_builds
from tests.bench.compare.checkout import Checkout, check_out, this_checkout
from tests.bench.compare.figures import FIGURES
from tests.bench.compare.report import Row
from tests.bench.compare.run import Results, Run
from tests.bench.load import generator
from tests.bench.plan import Plan


def compare(revision: str, names: Collection[str], plan: Plan, console: Console) -> None:
    """Print the table. Raises ``CheckoutError``, ``BuildError`` and what the figures raise."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # not at once: frozen processes must not be left behind
    began = time.monotonic()
    console.print(f"checking out {revision}", highlight=False)
    rows, facts = measure(this_checkout(), check_out(revision), names, plan, console)
    minutes = (time.monotonic() - began) / 60
    console.print(report.terminal(rows))
    console.print("\n".join([*facts, f"Took {minutes:.1f} minutes in all."]), highlight=False, soft_wrap=True)


def measure(this: Checkout, other: Checkout, names: Collection[str], plan: Plan, console: Console) -> tuple[list[Row], list[str]]:
    """The rows, and what a reader has to know of the run. Raises as ``compare``."""
    console.print("starting both stacks", highlight=False)
    with running_builds(this, other) as (ours, theirs):
        run = Run(ours, theirs, plan, console)
        asyncio.run(run.take(names))
    return _rows(run.results, (ours, theirs)), _facts(run.results, (ours, theirs), plan)


def _rows(results: Results, builds: Sequence[Build]) -> list[Row]:
    this, other = (build.checkout.name for build in builds)
    rows = [report.yardstick(f"bare echo of {name}", windows) for name, windows in results.echoes.items()]
    for name, comparisons in results.comparisons(this, other).items():
        first, *others = report.rows(name, comparisons)
        if echo := results.echoes.get(name):
            first = report.with_share_of_echo(first, comparisons[0], FIGURES[name].batch, echo)
        rows += [first, *others]
    return rows


def _facts(results: Results, builds: Sequence[Build], plan: Plan) -> list[str]:
    this, other = builds
    packages = "the same requirements.lock" if this.checkout.lock == other.checkout.lock else "another requirements.lock"
    comparisons = [each for found in results.comparisons(this.checkout.name, other.checkout.name).values() for each in found]
    return [
        f"{machine.today()}: this is {this.checkout.commit}, other is {other.checkout.name} ({other.checkout.commit}) with {packages}",
        machine.machine(),
        machine.versions(generator().name),
        f"{plan.windows} pairs of windows a figure, in the order A B, B A, A B …; all processes of the other stack frozen meanwhile.",
        "Idle: both stacks at the same moment. Echo: both frozen.",
        f"Requests a second at a fixed rate: {', '.join(f'{name} {rate:,.0f}' for name, rate in results.rates.items()) or 'none'}.",
        "Ratio: this / other, the median of the pairs; spread: the smallest and the largest of a pair.",
        *(_thawed(build) for build in builds),
        *report.warnings(comparisons),
    ]


def _thawed(build: Build) -> str:
    seconds = f"thawed {len(build.thaw_seconds)} times, healthy again after {max(build.thaw_seconds, default=0):.1f} s at most"
    restarted = f"; started again, as they ended: {', '.join(build.restarted)}" if build.restarted else ""
    return f"{build.checkout.name}: {seconds}{restarted}"
