"""Freezing a stack: every process of it, children too, and nothing is left frozen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from ops.local.process import Handle, remember, wait_for
from tests.bench.compare.processes import freeze, part_names, thaw, tree

PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin).wait()"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Path]:
    """A state directory with two parts, each of a process and its child."""
    (tmp_path / "run").mkdir()
    parts = {name: subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) for name in ("kafka", "gateway")}
    for name, process in parts.items():
        remember(tmp_path / "run" / f"{name}.json", Handle.of(process.pid))
        assert wait_for(partial(_has_child, process.pid), 10)
    yield tmp_path
    thaw(tmp_path)
    for process in parts.values():
        process.communicate()


def _has_child(pid: int) -> bool:
    return len(psutil.Process(pid).children()) == 1


def states(root: Path) -> list[str]:
    return [process.status() for name in part_names(root) for process in tree(root, name)]


def test_all_processes_stop_and_go_on(stack: Path) -> None:
    freeze(stack)
    assert wait_for(lambda: states(stack) == [psutil.STATUS_STOPPED] * 4, 10)
    thaw(stack)
    assert wait_for(lambda: psutil.STATUS_STOPPED not in states(stack), 10)
    assert len(states(stack)) == 4


def test_servers_are_frozen_last(stack: Path) -> None:
    assert part_names(stack) == ["gateway", "kafka"]


def test_a_part_that_has_ended_is_no_obstacle(stack: Path) -> None:
    remember(stack / "run" / "search.json", Handle(2**22 - 1, 0.0))
    freeze(stack)
    thaw(stack)
    assert [*tree(stack, "search")] == []
