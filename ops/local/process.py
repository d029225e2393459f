"""Child processes that outlive whoever started them, and how to find them again without mistaking one for another."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals

import psutil

from ops.local.state import write_private

_SAME_START_SECONDS = 2.0


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
            process.send_signal(number)

    def stop(self, number: Signals, timeout: float) -> None:
        """Ask to end, wait ``timeout`` seconds, then kill."""
        process = self.process()
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(Signals.SIGCONT)  # a frozen process could not hear the first signal
        if not self._wait(process, timeout):
            process.kill()
            self._wait(process, timeout)

    def _wait(self, process: psutil.Process, timeout: float) -> bool:
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            # Nobody may ever reap what an ended parent left behind in a container without an init.
            return self.process() is None
        return True


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
