"""Starts again what ended without being told to. ``python -m ops.local.supervisor STATE``.

It knows nothing that is not in the state directory, so it may be killed too: the next ``hyrelog up`` brings it back.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import psutil

from ops import log
from ops.local.runner import Runner
from ops.local.stack import SUPERVISOR, Stack
from ops.local.state import State

_LOOK_SECONDS, _DOWN_LOOK_SECONDS = 5.0, 1.0
"""The longer one while everything runs: the end of a process is noticed at once, but `hyrelog up` may start more."""
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_SETTLED_SECONDS = 60.0


class Patience:
    """How long to wait before a part is started again: twice as long each time, until it has run for a minute."""

    def __init__(self) -> None:
        self._delay = _FIRST_DELAY_SECONDS
        self._not_before = 0.0

    def allows(self, now: float) -> bool:
        """Whether the part may be started at ``now`` (monotonic seconds)."""
        return now >= self._not_before

    def restarted(self, now: float) -> None:
        """Take note of a restart."""
        if now - self._not_before > _SETTLED_SECONDS:
            self._delay = _FIRST_DELAY_SECONDS
        self._not_before = now + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)


def watch(root: Path, stop: int) -> None:
    """Look at every part, again and again, until something can be read from the file ``stop``."""
    patience: defaultdict[str, Patience] = defaultdict(Patience)
    while True:
        # Read anew each time: `hyrelog up` may have added workers or moved a port.
        runners = {name: runner for name, runner in Stack(State(root)).runners.items() if name != SUPERVISOR}
        for name, runner in runners.items():
            revive(runner, patience[name])
        if wait_for_end(runners.values(), stop):
            return


def wait_for_end(runners: Iterable[Runner], stop: int) -> bool:
    """Wait until a part ends, or for a while. Returns whether to stop."""
    poll, seconds = select.poll(), _LOOK_SECONDS
    poll.register(stop, select.POLLIN)
    with ExitStack() as files:
        for runner in runners:
            if not runner.is_wanted():
                continue
            try:
                file = _process_file(runner.process())
            except OSError:  # it is down, or the system has no such files
                seconds = _DOWN_LOOK_SECONDS
            else:
                files.callback(os.close, file)
                poll.register(file, select.POLLIN)
        return stop in dict(poll.poll(1000 * seconds))


def _process_file(process: psutil.Process | None) -> int:
    """A file that can be read once the process has ended. Raises ``OSError``."""
    if process is None:
        raise ProcessLookupError
    return os.pidfd_open(process.pid)


def revive(runner: Runner, patience: Patience) -> bool:
    """Start the part if it should run, does not, and its time has come. Returns whether it was tried."""
    if not runner.is_wanted() or runner.process() is not None or not patience.allows(time.monotonic()):
        return False
    logger = log.get(__name__)
    patience.restarted(time.monotonic())
    try:
        if (pid := runner.restart()) is not None:  # else it was being stopped
            logger.warning("restarted", part=runner.part.name, pid=pid)
    except Exception:
        # One part that can't be started must not end the watch over the others.
        logger.exception("restart failed", part=runner.part.name)
    return True


def main() -> None:
    """Watch until SIGTERM."""
    log.configure("INFO", SUPERVISOR)
    stop, told = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(told, b"."))
    watch(Path(sys.argv[1]), stop)


if __name__ == "__main__":
    main()
