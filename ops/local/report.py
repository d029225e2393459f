"""The table of ``hyrelog status``."""

from __future__ import annotations

import time

import psutil
from rich.table import Table

from ops.local.runner import Runner
from ops.local.stack import Stack

_COLUMNS = ("part", "pid", "port", "healthy", "memory", "up for")


def table(stack: Stack) -> Table:
    """One row a part; memory is what the part and its children hold (shared pages counted once each)."""
    rows = Table(*_COLUMNS)
    parts = {process.pid for runner in stack.runners.values() if (process := runner.process())}
    for name, runner in stack.runners.items():
        rows.add_row(name, *_cells(stack, runner, parts))
    return rows


def _cells(stack: Stack, runner: Runner, parts: set[int]) -> tuple[str, ...]:
    process = runner.process()
    port = str(stack.state.port(runner.part.ports[0])) if runner.part.ports else ""
    if process is None:
        return "", port, "[red]ended" if runner.is_wanted() else "stopped", "", ""
    healthy = "[green]yes" if runner.part.ready() else "[red]no"
    return str(process.pid), port, healthy, f"{_memory(process, parts) / 2**20:.0f} MiB", _duration(time.time() - process.create_time())


def _memory(process: psutil.Process, parts: set[int]) -> int:
    """Proportional set sizes, bytes: PostgreSQL's backends share most of what each seems to hold.

    What the supervisor restarted are its children, and parts in their own right.
    """
    total = 0
    for one in [process, *(child for child in process.children() if child.pid not in parts)]:
        try:
            total += one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
