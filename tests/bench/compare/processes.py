"""The processes of a stack, by the pid files in its state directory: frozen, thawed, ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals

import psutil

from ops.local.process import recall
from ops.local.stack import SERVERS


def part_names(root: Path) -> list[str]:
    """The parts that run or ended without being stopped, servers last."""
    names = sorted(file.stem for file in (root / "run").glob("*.json"))
    return sorted(names, key=lambda name: name in SERVERS)


def freeze(root: Path) -> None:
    """Stop all processes where they are, clients before servers."""
    for name in part_names(root):
        _signal(root, name, SIGSTOP)


def thaw(root: Path) -> None:
    """Let all processes go on, servers before clients."""
    for name in reversed(part_names(root)):
        _signal(root, name, SIGCONT)


def _signal(root: Path, name: str, number: Signals) -> None:
    # The parent first: a frozen PostgreSQL starts no backend that would be missed.
    for process in tree(root, name):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def tree(root: Path, name: str) -> Iterator[psutil.Process]:
    """A part's process and, after it, its descendants of that moment; nothing when it has ended."""
    handle = recall(root / "run" / f"{name}.json")
    process = handle and handle.process()
    if process:
        yield process
        with suppress(psutil.NoSuchProcess):
            yield from process.children(recursive=True)
