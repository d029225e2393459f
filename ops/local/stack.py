"""The stack as a whole: start what is missing, stop it, reach single parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL, Signals

from ops.local import apps, kafka, postgres, s3, tools
from ops.local.envfile import write_demo_env
from ops.local.progress import Progress, Silent
from ops.local.provision import provision
from ops.local.runner import PartError, Runner
from ops.local.state import State

SERVERS = ("kafka", "postgres", "s3")
SUPERVISOR = "supervisor"


class Stack:
    """The embedded stack in one state directory.

    ``workers=None`` means as many as run now, or one. ``supervise=False`` leaves out the process that
    restarts what ends, so that a test may kill in peace.
    """

    def __init__(self, state: State, *, workers: int | None = None, supervise: bool = True) -> None:
        self.state = state
        running = _highest_worker(state)
        count = workers or running or 1
        parts = [kafka.part(state), postgres.part(state), s3.part(state), apps.gateway(state), apps.relay(state)]
        parts += [apps.search(state), apps.webhooks(state), apps.archive(state), apps.scheduler(state)]
        parts += [apps.worker(state, number) for number in range(1, max(count, running) + 1)]
        self._surplus = [f"worker-{number}" for number in range(count + 1, running + 1)]
        parts += [apps.supervisor(state)] if supervise else []
        self.runners = {part.name: Runner(state, part) for part in parts}

    def up(self, only: Collection[str] = (), progress: Progress | None = None) -> None:
        """Start what is not running and ready, servers first. Raises :class:`ops.local.runner.PartError`."""
        if unknown := set(only) - self.runners.keys():
            raise PartError(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(self.runners)}")
        chosen = [name for name in self.runners if name not in self._surplus and (not only or name in only)]
        self._stop_all(self._surplus)
        progress = progress or Silent()
        before = self._server_ports()
        fetch_missing(progress)
        self._bring_up([name for name in chosen if name in SERVERS], progress)
        if self._server_ports() != before:
            self._stop_all(self._others())  # they were told the old ports
        is_whole = set(SERVERS) <= set(chosen)
        if is_whole:
            with progress.step("databases, topics, buckets"):
                provision(self.state)
        self._bring_up([name for name in chosen if name not in SERVERS], progress)
        if is_whole:
            write_demo_env(self.state)  # last, as starting a part may have moved its port

    def down(self) -> None:
        """Stop all that runs, the servers last; the data stays."""
        self._stop_all([SUPERVISOR])
        self._stop_all(self._others())
        self._stop_all(SERVERS)

    def destroy(self) -> None:
        """Stop everything and delete the state directory with all data in it."""
        self.down()
        for directory in {postgres.home(self.state), self.state.root}:
            shutil.rmtree(directory, ignore_errors=True)

    def start(self, name: str) -> int:
        """Start the part and return its pid, without waiting until it is ready."""
        return self.runners[name].start()

    def stop(self, name: str) -> None:
        """End the part politely; the supervisor leaves a stopped part alone."""
        self.runners[name].stop()

    def kill(self, name: str, number: Signals = SIGKILL) -> None:
        """Send a signal. After SIGKILL, return when the process is gone."""
        self.runners[name].signal(number)

    def pid(self, name: str) -> int | None:
        """The part's process id while it runs."""
        process = self.runners[name].process()
        return process.pid if process else None

    def is_ready(self, name: str) -> bool:
        """Whether the part runs and answers."""
        return self.runners[name].is_ready()

    def wait_ready(self, name: str, timeout: float | None = None) -> None:
        """Wait until the part answers. Raises :class:`ops.local.runner.PartError`."""
        self.runners[name].wait_ready(timeout)

    def _bring_up(self, names: Sequence[str], progress: Progress) -> None:
        def bring_up(name: str) -> None:
            with progress.step(name):
                self.runners[name].start()
                self.runners[name].wait_ready()

        _in_parallel(bring_up, names)

    def _stop_all(self, names: Sequence[str]) -> None:
        _in_parallel(self.stop, [name for name in names if name in self.runners])

    def _others(self) -> list[str]:
        return [name for name in self.runners if name not in SERVERS]

    def _server_ports(self) -> list[int]:
        return [self.state.port(name) for name in SERVERS]


def _highest_worker(state: State) -> int:
    return max((int(path.stem.removeprefix("worker-")) for path in (state.root / "run").glob("worker-*.json")), default=0)


def fetch_missing(progress: Progress) -> None:
    """Fetch what the servers run on. Raises :class:`ops.local.tools.MissingToolError`."""
    missing = tools.missing()

    def fetch(words: str) -> None:
        with progress.step(f"{words} (once)"):
            missing[words]()

    _in_parallel(fetch, list(missing))


def _in_parallel(action: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        list(pool.map(action, names))
