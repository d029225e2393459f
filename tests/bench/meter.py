"""What each process costs: CPU time and memory, as the kernel counts them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.local.stack import Stack

PARTS = {
    "ingest": "gateway",
    "worker": "worker-1",
    "search": "search",
    "webhooks": "webhooks",
    "archive": "archive",
    "Kafka": "kafka",
    "Postgres": "postgres",
}
OBSERVER = "observer"
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of each process by its name, and of the whole machine."""

    cpu: Mapping[str, float]
    machine: float

    def since(self, before: Cost) -> Cost:
        """What was spent between two readings."""
        return Cost({name: seconds - before.cpu.get(name, 0.0) for name, seconds in self.cpu.items()}, self.machine - before.machine)

    def plus(self, other: Cost) -> Cost:
        """The two together."""
        names = [*self.cpu, *(name for name in other.cpu if name not in self.cpu)]
        return Cost({name: self.cpu.get(name, 0.0) + other.cpu.get(name, 0.0) for name in names}, self.machine + other.machine)

    def with_process(self, name: str, seconds: float) -> Cost:
        """With one more process, which is part of the machine's time already."""
        return Cost({**self.cpu, name: seconds}, self.machine)

    @property
    def elsewhere(self) -> float:
        """CPU seconds of all other processes of the machine."""
        return max(0.0, self.machine - sum(self.cpu.values()))


class Meter:
    """Reads the processes of a stack, and remembers the most memory each had. ``observer`` is this process itself."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.peaks: dict[str, int] = {}

    def read(self) -> Cost:
        """The CPU seconds spent so far by what runs now."""
        cpu = {name: sum(map(_cpu_seconds, tree)) for name, tree in self._trees()}
        own, times = psutil.Process().cpu_times(), psutil.cpu_times()
        busy = times.user + times.nice + times.system + times.irq + times.softirq
        return Cost(cpu | {OBSERVER: own.user + own.system}, busy)

    def note_memory(self) -> None:
        """Remember peak resident sizes. Postgres: what its processes hold now, shared pages counted once."""
        for name, tree in self._trees():
            held = sum(map(_proportional_size, tree)) if name == "Postgres" else _peak_size(tree[0].pid)
            self.peaks[name] = max(held, self.peaks.get(name, 0))

    def _trees(self) -> Iterator[tuple[str, list[psutil.Process]]]:
        for name, part in PARTS.items():
            pid = self._stack.pid(part)
            if pid is not None:
                root = psutil.Process(pid)
                yield name, [root, *(root.children(recursive=True) if name == "Postgres" else ())]


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # a backend that has just ended: its parent's children_* hold its time now
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _proportional_size(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0


def _peak_size(pid: int) -> int:
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
