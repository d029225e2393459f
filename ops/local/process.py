"""Child processes that outlive whoever started them, and how to find them again without mistaking one for another."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals

import psutil

from ops.local.state import write_private

_SAME_START_SECONDS = 2.0
_POLL_SECONDS = 0.05


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until the condition holds; ``False`` when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@dataclass(frozen=True, slots=True)
class Handle:
    """One process of this machine. Its start time tells it from another that was given the same pid later."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Handle:
        """The running process ``pid``. Raises ``psutil.NoSuchProcess``."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process while it runs; ``None`` once it has ended (a zombie has), which also reaps our own child."""
        try:
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.started) > _SAME_START_SECONDS:
                return None
            if found.status() == psutil.STATUS_ZOMBIE:
                _reap(self.pid)
                return None
        except psutil.NoSuchProcess:
            return None
        return found

    def signal(self, number: Signals) -> None:
        """Send a signal; to an ended process it is nothing."""
        process = self.process()
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def stop(self, number: Signals, timeout: float) -> None:
        """Ask to end, wait ``timeout`` seconds, then kill. An ended process needs nobody to reap it to count as ended."""
        self.signal(number)
        self.signal(Signals.SIGCONT)  # a frozen process could not hear the first signal
        if not wait_for(lambda: self.process() is None, timeout):
            self.signal(Signals.SIGKILL)
            wait_for(lambda: self.process() is None, timeout)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started: its arguments, environment, directory, log file and (when we are root) user."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    cwd: Path
    log: Path
    user: str | None = None

    def spawn(self) -> Handle:
        """Start it in a session of its own, so that neither a closed terminal nor the end of its parent ends it."""
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                self.argv,
                env=dict(self.environ),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                extra_groups=None if self.user is None else (),
            )
        # The stack finds its processes by pid file; Popen's own book-keeping would warn of a child left running.
        child.returncode = 0
        return Handle.of(child.pid)


def remember(path: Path, handle: Handle) -> None:
    """Write the pid file."""
    write_private(path, json.dumps(asdict(handle)))


def recall(path: Path) -> Handle | None:
    """Read the pid file; ``None`` when there is none."""
    try:
        return Handle(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
