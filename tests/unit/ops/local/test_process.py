"""Processes that outlive their starter, and the restarts of those that end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL, SIGSTOP, SIGTERM

import psutil
import pytest

from ops.local import supervisor
from ops.local.part import Part
from ops.local.process import Handle, Launch, recall, remember, wait_for
from ops.local.runner import PartError, Runner
from ops.local.state import State
from ops.local.supervisor import Patience, revive, wait_for_end

_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


def _launch(tmp_path: Path, code: str = "import signal; signal.pause()") -> Launch:
    return Launch([sys.executable, "-c", code], {}, tmp_path, tmp_path / "log")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Handle]:
    handle = _launch(tmp_path).spawn()
    yield handle
    handle.stop(SIGKILL, 5)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    runner = Runner(State(tmp_path), Part(name="toy", command=lambda: argv, ready=lambda: True, cwd=tmp_path, stop_seconds=5))
    yield runner
    runner.stop()


def test_a_process_is_found_again_by_its_pid_file(sleeper: Handle, tmp_path: Path) -> None:
    remember(tmp_path / "pid", sleeper)
    found = recall(tmp_path / "pid")
    assert found == sleeper
    assert found.process() is not None


def test_another_process_with_the_same_pid_is_not_mistaken_for_it(sleeper: Handle) -> None:
    """Pids are given out again: a stale pid file must not kill a stranger."""
    stale = Handle(sleeper.pid, sleeper.started - 3600)
    assert stale.process() is None
    stale.stop(SIGKILL, 5)
    assert sleeper.process() is not None


def test_a_killed_child_counts_as_ended_at_once(sleeper: Handle) -> None:
    """It stays a zombie until it is reaped."""
    sleeper.signal(SIGKILL)
    assert wait_for(lambda: sleeper.process() is None, 5)
    assert not psutil.pid_exists(sleeper.pid)


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    handle = _launch(tmp_path, _STUBBORN).spawn()
    assert wait_for(lambda: "deaf" in (tmp_path / "log").read_text(), 5)
    handle.stop(SIGTERM, timeout=0.2)
    assert handle.process() is None


def test_a_frozen_process_can_be_stopped(sleeper: Handle) -> None:
    sleeper.signal(SIGSTOP)
    sleeper.stop(SIGTERM, timeout=5)
    assert sleeper.process() is None


def test_starting_twice_keeps_the_first_process(runner: Runner) -> None:
    assert runner.start() == runner.start()


def test_what_was_started_and_not_written_down_is_found_and_replaced(runner: Runner) -> None:
    """Whoever starts a part may be killed before the pid file is there."""
    stray = Handle.of(runner.start())
    runner.pid_file.unlink()
    assert runner.start() != stray.pid
    assert stray.process() is None


def test_a_part_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no licence')"]
    runner = Runner(State(tmp_path), Part(name="toy", command=lambda: argv, ready=lambda: False, cwd=tmp_path))
    runner.start()
    with pytest.raises(PartError, match="no licence"):
        runner.wait_ready()


def test_the_supervisor_brings_back_what_was_killed(runner: Runner) -> None:
    first = runner.start()
    runner.signal(SIGKILL)
    assert revive(runner, Patience())
    found = runner.process()
    assert found is not None
    assert found.pid != first


def test_the_supervisor_leaves_alone_what_was_stopped(runner: Runner) -> None:
    runner.start()
    runner.stop()
    assert not revive(runner, Patience())
    assert runner.process() is None


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """What the supervisor reads to end, and where to write it; left alone it would look again in an hour."""
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 3600.0)
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_the_supervisor_notices_an_end_at_once(runner: Runner, stop: tuple[int, int]) -> None:
    runner.start()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait_for_end, [runner], stop[0])
        assert not waiting.done()
        runner.signal(SIGKILL)
        assert waiting.result(timeout=5) is False


def test_the_supervisor_ends_when_told(runner: Runner, stop: tuple[int, int]) -> None:
    runner.start()
    os.write(stop[1], b".")
    assert wait_for_end([runner], stop[0]) is True


def test_the_supervisor_looks_soon_while_a_part_is_down(runner: Runner, stop: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have to wait before it is started again."""
    monkeypatch.setattr(supervisor, "_DOWN_LOOK_SECONDS", 0.01)
    runner.start()
    runner.signal(SIGKILL)
    assert wait_for_end([runner], stop[0]) is False


def test_a_part_that_keeps_ending_is_tried_less_and_less_often() -> None:
    patience = Patience()
    patience.restarted(now=100.0)
    assert not patience.allows(100.4)
    assert patience.allows(100.5)
    patience.restarted(now=100.5)
    assert not patience.allows(101.4)
    assert patience.allows(101.5)
    for _ in range(10):
        patience.restarted(now=102.0)
    assert patience.allows(132.0)


def test_a_part_that_ran_long_is_started_again_quickly() -> None:
    patience = Patience()
    for _ in range(10):
        patience.restarted(now=0.0)
    patience.restarted(now=200.0)
    assert patience.allows(200.5)
