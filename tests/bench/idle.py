"""What a stack costs that nobody asks anything of: milliseconds of CPU a second, by part.

``python -m tests.bench.idle`` starts a stack for it; with a state directory it measures the stack that runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from ops.local.runner import Runner
from ops.local.stack import Stack
from ops.local.state import State
from tests.bench.bench import Bench
from tests.bench.resting import SINKS, wake
from tests.bench.table import Row
from tests.support.stack import running_stack

SETTLE_SECONDS, WINDOW_SECONDS = 60.0, 30.0
"""The first minute after a start is not idle: caches fill, groups form, looks are still frequent."""


class Reading(NamedTuple):
    """CPU seconds spent so far by each part's processes, and when they were read (monotonic seconds)."""

    at: float
    cpu: Mapping[str, float]


class Restarted(Exception):
    """A part ended or began between two readings, so that their difference says nothing."""


def read(stack: Stack) -> Reading:
    """The parts that run now, each with all its descendants."""
    running = {name: tree for name, runner in stack.runners.items() if (tree := _tree(runner))}
    return Reading(time.monotonic(), {name: sum(map(_cpu_seconds, tree)) for name, tree in running.items()})


def spent(before: Reading, after: Reading) -> dict[str, float]:
    """Milliseconds of CPU a second between two readings, by part, the dearest first. Raises ``Restarted``."""
    if before.cpu.keys() != after.cpu.keys() or any(after.cpu[name] < seconds for name, seconds in before.cpu.items()):
        raise Restarted(f"running before: {', '.join(before.cpu)}; after: {', '.join(after.cpu)}")
    parts = {name: 1000 * (after.cpu[name] - seconds) / (after.at - before.at) for name, seconds in before.cpu.items()}
    return dict(sorted(parts.items(), key=lambda part: part[1], reverse=True))


def measure(stack: Stack, settle: float = SETTLE_SECONDS, window: float = WINDOW_SECONDS) -> dict[str, float]:
    """Let the stack settle, then watch it. Milliseconds of CPU a second, by part. Raises ``Restarted``."""
    time.sleep(settle)
    before = read(stack)
    time.sleep(window)
    return spent(before, read(stack))


async def idle(bench: Bench) -> dict[str, float]:
    """The same of a bench's stack with all its sinks, which other figures stop."""
    for sink in SINKS:
        await wake(bench, sink)
    for sink in SINKS:
        await asyncio.to_thread(bench.stack.parts.wait_ready, sink)
    return await asyncio.to_thread(measure, bench.stack.parts, bench.plan.idle_settle_seconds, bench.plan.idle_seconds)


def rows(parts: Mapping[str, float]) -> list[Row]:
    """The line of the table."""
    detail = " · ".join(f"{name} {cost:.1f}" for name, cost in parts.items())
    return [Row("CPU of an idle stack, all parts", f"{sum(parts.values()):.0f} ms/s", "≤ 40 ms/s", detail)]


def _tree(runner: Runner) -> list[psutil.Process]:
    root = runner.process()
    try:
        return [] if root is None else [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(process: psutil.Process) -> float:
    """With that of children it has waited for: backends and workers of PostgreSQL come and go."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def _stack(directory: Path | None) -> Iterator[Stack]:
    if directory is not None:
        yield Stack(State(directory))
        return
    with running_stack() as stack:
        yield stack.parts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("state", nargs="?", type=Path, help="state directory of a running stack; else one is started")
    parser.add_argument("--settle", type=float, default=SETTLE_SECONDS, help="seconds before the window")
    parser.add_argument("--window", type=float, default=WINDOW_SECONDS, help="seconds of the window")
    chosen = parser.parse_args()
    if chosen.state is not None and not State.exists(chosen.state):
        parser.error(f"no stack was ever started in {chosen.state}")
    with _stack(chosen.state) as stack:
        parts = measure(stack, chosen.settle, chosen.window)
    for name, cost in [*parts.items(), ("all", sum(parts.values()))]:
        print(f"{name:12} {cost:6.1f} ms/s")


if __name__ == "__main__":
    main()
