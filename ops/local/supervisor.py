"""Starts again what ended without being told to. ``python -m ops.local.supervisor STATE``.

It knows nothing that is not in the state directory, so it may be killed too: the next ``hyrelog up`` brings it back.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

from ops import log
from ops.local.runner import Runner
from ops.local.stack import SUPERVISOR, Stack
from ops.local.state import State

_LOOK_SECONDS = 1.0
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


def watch(root: Path, stopped: threading.Event) -> None:
    """Look at every part, again and again, until ``stopped``."""
    patience: defaultdict[str, Patience] = defaultdict(Patience)
    while not stopped.wait(_LOOK_SECONDS):
        # Read anew each time: `hyrelog up` may have added workers or moved a port.
        for name, runner in Stack(State(root)).runners.items():
            if name != SUPERVISOR:
                revive(runner, patience[name])


def revive(runner: Runner, patience: Patience) -> bool:
    """Start the part if it should run, does not, and its time has come. Returns whether it was tried."""
    if not runner.is_wanted() or runner.process() is not None or not patience.allows(time.monotonic()):
        return False
    logger = log.get(__name__)
    patience.restarted(time.monotonic())
    try:
        logger.warning("restarted", part=runner.part.name, pid=runner.restart())
    except Exception:
        # One part that can't be started must not end the watch over the others.
        logger.exception("restart failed", part=runner.part.name)
    return True


def main() -> None:
    """Watch until SIGTERM."""
    log.configure("INFO", SUPERVISOR)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    watch(Path(sys.argv[1]), stopped)


if __name__ == "__main__":
    main()
