"""A build under measurement: its stack, its company, and its turns between which it is frozen.

The measuring code is this tree's for both builds. What it needs of a build, whatever its revision: ``python -m ops up | down``
and the commands that make tenants, the state directory's ports, secrets and pid files, topics, tables and the HTTP API.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryDirectory
from uuid import UUID

import orjson
from rich.console import Console

from ops.local.part import Part
from ops.local.process import recall
from ops.local.runner import Runner, pid_file
from ops.local.stack import SUPERVISOR, Stack
from ops.local.state import DEFAULT_PORTS, State
from ops.seed import Tenant, Workspace
from tests.bench.bench import Bench, observed
from tests.bench.compare.checkout import Checkout
from tests.bench.compare.processes import freeze, part_names, thaw
from tests.bench.pipeline import REGION
from tests.bench.plan import Plan
from tests.bench.workload import WORKSPACES, body
from tests.support.stack import LocalStack

_SCRIPT = Path(__file__).with_name("company_script.py")
_UP_SECONDS = 300.0
_ACCEPT_SECONDS = 60.0
_RETRY_SECONDS = 0.1
_STOP_SECONDS = 10.0
_OWN_VARIABLES = ("PYTHONPATH", "VIRTUAL_ENV", "HYRELOG_STATE")


class BuildError(Exception):
    """A build's command failed, or its stack does not accept events."""


class BuildStack(Stack):
    """The stack of a checkout: observed and stopped through its state directory, started by its own command."""

    def __init__(self, state: State, checkout: Checkout) -> None:
        super().__init__(state, supervise=False)
        self._checkout = checkout

    def add_unknown_parts(self) -> None:
        """Take in the parts that another revision has and this one does not know."""
        for name in part_names(self.state.root):
            if name not in self.runners:
                part = Part(name, command=tuple, ready=lambda: True, cwd=self._checkout.root)
                self.runners[name] = Runner(self.state, part)

    def start(self, name: str) -> int:
        """Start the part and wait until it is ready; return its pid."""
        hyrelog(self._checkout, self.state, "up", "--state", str(self.state.root), "--only", name)
        return self.pid(name) or 0


class Build:
    """One of the two builds. Its stack is frozen except in the block of ``turn``."""

    def __init__(self, checkout: Checkout, stack: BuildStack, tenant: Tenant) -> None:
        self.checkout = checkout
        self.stack = stack
        self.tenant = tenant
        self.thaw_seconds: list[float] = []
        """For each turn, how long it took until the thawed stack had announced an event of every workspace."""
        self.restarted: list[str] = []
        """Parts that ended because of a freeze."""

    @asynccontextmanager
    async def turn(self, plan: Plan, console: Console) -> AsyncIterator[Bench]:
        """Thaw the stack, wait until it is healthy, freeze it at the end. Raises ``BuildError`` and ``NotDrained``."""
        began = time.monotonic()
        thaw(self.stack.state.root)
        try:
            await asyncio.to_thread(self._wait_ready)
            async with observed(LocalStack(self.stack), self.tenant, plan, console, receiver_port=0) as bench:
                await asyncio.to_thread(self._wait_accepted)
                await bench.pipeline.drained()
                self.thaw_seconds.append(time.monotonic() - began)
                yield bench
        finally:
            freeze(self.stack.state.root)

    def _wait_ready(self) -> None:
        for name in reversed(part_names(self.stack.state.root)):
            if self.stack.pid(name) is None:
                self.restarted.append(name)
                self.stack.start(name)
            self.stack.wait_ready(name)

    def _wait_accepted(self) -> None:
        """Post an event to every workspace until it is accepted."""
        deadline = time.monotonic() + _ACCEPT_SECONDS
        for number, workspace in enumerate(self.tenant.workspaces):
            while (status := _post(self.stack.state.port("gateway"), workspace.key or "", body(number, 1))) != 202:
                if time.monotonic() > deadline:
                    raise BuildError(f"{self.checkout.name} answers {status} for {_ACCEPT_SECONDS:.0f} s")
                time.sleep(_RETRY_SECONDS)


@contextmanager
def running_builds(*checkouts: Checkout) -> Iterator[list[Build]]:
    """A running build of each, started at the same time. Raises ``BuildError``."""
    with ExitStack() as stacks:
        with ThreadPoolExecutor(len(checkouts)) as pool:
            starting = [pool.submit(stacks.enter_context, running_build(checkout)) for checkout in checkouts]
        yield [build.result() for build in starting]


@contextmanager
def running_build(checkout: Checkout) -> Iterator[Build]:
    """A fresh stack of the build in a directory of its own, awake; deleted at the end. Raises ``BuildError``."""
    with TemporaryDirectory(prefix="hyrelog-bench-", ignore_cleanup_errors=True) as directory:
        state = State(Path(directory), fixed_ports=False)
        for name in DEFAULT_PORTS:
            state.port(name)  # free ones, remembered: the build's own choice would be the demo's ports
        try:
            hyrelog(checkout, state, "up", "--state", directory)
            _end_supervisor(state)
            stack = BuildStack(state, checkout)
            stack.add_unknown_parts()
            yield Build(checkout, stack, _make_company(checkout, state))
        finally:
            thaw(state.root)
            hyrelog(checkout, state, "down", "--state", directory, "--delete-data")


def hyrelog(checkout: Checkout, state: State, *arguments: str) -> str:
    """Run a command of the build on its stack. Raises ``BuildError``."""
    return _run(checkout, state, "-m", "ops", *arguments)


def _run(checkout: Checkout, state: State, *arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DATABASE_URL_") and name not in _OWN_VARIABLES}
    environ["HYRELOG_STATE"] = str(state.root)
    done = subprocess.run(
        [str(checkout.python), *arguments],
        cwd=checkout.root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=_UP_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"{checkout.name}: {arguments[0]} … {' '.join(arguments[-4:])} failed\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _end_supervisor(state: State) -> None:
    """It would start again what a figure stops."""
    file = pid_file(state, SUPERVISOR)
    if handle := recall(file):
        handle.stop(SIGTERM, _STOP_SECONDS)
        file.unlink(missing_ok=True)


def _make_company(checkout: Checkout, state: State) -> Tenant:
    made = orjson.loads(_run(checkout, state, "-c", _SCRIPT.read_text(), REGION.value, str(WORKSPACES)))
    workspaces = tuple(Workspace(UUID(each["id"]), UUID(each["project"]), each["key"]) for each in made["workspaces"])
    return Tenant(REGION, UUID(made["id"]), made["key"], workspaces)


def _post(port: int, key: str, content: bytes) -> int | str:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", "/v1/events", content, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()
