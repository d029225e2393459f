"""One part of the stack as a process: start it, end it, look at it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from signal import SIGKILL, Signals

import psutil

from ops.local import ports
from ops.local.part import Part
from ops.local.process import Handle, Launch, recall, remember, wait_for
from ops.local.state import State

# In the environment of each part: finds what was started by somebody who was killed before he wrote the pid file.
_MARK = "HYRELOG_PART"
_GRACE_SECONDS = 10.0
_PORT_SECONDS = 5.0
_KILL_SECONDS = 10.0


class PartError(Exception):
    """A part did not become ready; the message ends with the last lines of its log."""


class Runner:
    """Runs one part. Several processes may hold a ``Runner`` of the same part: pid file and lock are shared."""

    def __init__(self, state: State, part: Part) -> None:
        self._state = state
        self.part = part
        self._mark = f"{state.root}:{part.name}"
        self.pid_file = pid_file(state, part.name)
        self.log_file = log_file(state, part.name)

    def process(self) -> psutil.Process | None:
        """The running process."""
        handle = recall(self.pid_file)
        return handle.process() if handle else None

    def is_wanted(self) -> bool:
        """Whether it was started and not stopped since: running or not, it should be."""
        return self.pid_file.exists()

    def is_ready(self) -> bool:
        """Whether it runs and answers."""
        return self.process() is not None and self.part.ready()

    def start(self) -> int:
        """Start it unless it runs and answers; one that runs and stays silent is ended first. Returns the pid."""
        with self._state.locked(self.part.name):
            running = self.process()
            if running is not None and running.status() != psutil.STATUS_STOPPED and wait_for(self.part.ready, _GRACE_SECONDS):
                return running.pid
            self._end()
            self._settle_ports()
            return self._spawn().pid

    def restart(self) -> int | None:
        """Start it if it has ended and is still wanted. Returns the new pid."""
        with self._state.locked(self.part.name):
            if not self.is_wanted() or self.process() is not None:
                return None
            self._end()
            return self._spawn().pid

    def stop(self) -> None:
        """End it politely, and by force when its time is over."""
        with self._state.locked(self.part.name):
            self._end()
            self.pid_file.unlink(missing_ok=True)

    def signal(self, number: Signals) -> None:
        """Send any signal; after SIGKILL, wait until the process is gone."""
        handle = recall(self.pid_file)
        if handle is None:
            return
        handle.signal(number)
        if number == SIGKILL:
            wait_for(lambda: handle.process() is None, _KILL_SECONDS)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until it answers. Raises :class:`PartError` when it ends first or takes too long."""
        limit = self.part.ready_seconds if timeout is None else timeout
        if not wait_for(lambda: self.process() is None or self.part.ready(), limit):
            raise PartError(f"{self.part.name} was not ready within {limit:.0f} s\n{self.last_lines()}")
        if self.process() is None:
            raise PartError(f"{self.part.name} ended\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open(errors="replace") as log:
            return "".join(deque(log, maxlen=count)).rstrip()

    def _spawn(self) -> Handle:
        argv = self.part.command()
        environ = {**self.part.environ(), _MARK: self._mark}
        handle = Launch(argv, environ, self.part.cwd, self.log_file, self.part.user).spawn()
        remember(self.pid_file, handle)
        return handle

    def _end(self) -> None:
        handle = recall(self.pid_file)
        if handle is not None:
            handle.stop(self.part.stop_signal, self.part.stop_seconds)
        for stray in _marked(self._mark):
            stray.stop(self.part.stop_signal, self.part.stop_seconds)

    def _settle_ports(self) -> None:
        """Give up the ports that somebody else has taken while the part was down.

        Not at once: of a process that was killed, the first thread may be gone while the others still hold its sockets.
        """
        for name in self.part.ports:
            port = self._state.port(name)
            if not wait_for(partial(ports.is_free, port), _PORT_SECONDS):
                self._state.move_port(name)


def _marked(mark: str) -> Iterator[Handle]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark:
                yield Handle.of(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def pid_file(state: State, name: str) -> Path:
    """Where the process of that name is remembered."""
    return state.root / "run" / f"{name}.json"


def log_file(state: State, name: str) -> Path:
    """Where the output of that name goes."""
    return state.root / "log" / f"{name}.log"
