"""The stack that is hurt: an embedded one of its own, whose workers, relays, sinks and gateway reach the servers through links."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, Signals

import psutil

from ops.local import apps
from ops.local.part import Part
from ops.local.probes import http_answers
from ops.local.process import wait_for
from ops.local.runner import PartError, Runner
from ops.local.stack import SERVERS, Stack
from ops.local.state import State
from schemas.topics import REGIONS, Region
from tests.faults.link import Link
from tests.support import cluster_template
from tests.support.receiver import Receiver, receiving
from tests.support.stack import LocalStack

SERVED = (Region.US, Region.EU)
"""Regions of the workers here: two, so that one's trouble may be seen not to reach the other."""
SESSION_SECONDS = 6
"""The workers' session timeout, Kafka's shortest."""
MAX_WORKERS = 4
GATEWAY = "gateway"
RELAYS = ("relay", "relay-2")
"""Two, so that one takes over from the other."""
SEARCHES = ("search", "search-2")
"""Two, so that they share the partitions out, again and again."""
WEBHOOKS = ("webhooks", "webhooks-2")
"""Two, each with a dispatcher, so that one takes over the other's deliveries."""
BESIDE = (*RELAYS, *SEARCHES, *WEBHOOKS)
"""What runs beside the workers, whatever their number."""
_SESSIONS = ("STREAMS_SESSION_TIMEOUT_SECONDS", "SINKS_SESSION_TIMEOUT_SECONDS")
_PORT_SETTINGS = ("RELAY_HTTP_PORT", "SINKS_HTTP_PORT")
_END_SECONDS = 40.0
_THREADS = 32
LEASE_SECONDS = 6.0
"""Of a claimed delivery: as long as a session lives."""
_TUNING = {
    "WEBHOOK_RETRY_SECONDS": ",".join(["0.5"] * 18),  # one attempt less than there are at most
    "WEBHOOK_TIMEOUT_SECONDS": "2",
    "WEBHOOK_LEASE_SECONDS": str(LEASE_SECONDS),
    "TAIL_LIFETIME_SECONDS": "15",
}


def worker(number: int) -> str:
    """The name of that worker, counted from 1."""
    return f"worker-{number}"


WORKERS = tuple(worker(number) for number in range(1, MAX_WORKERS + 1))


class Cluster(LocalStack):
    """A running stack with links. ``workers`` are the ones that run when all is well; webhooks may lead to ``receiver``."""

    def __init__(
        self, parts: Stack, receiver: Receiver, kafka_links: Mapping[str, Link], postgres_links: Mapping[str, Link], workers: int
    ) -> None:
        super().__init__(parts)
        self.receiver = receiver
        self.kafka_links = kafka_links
        self.postgres_links = postgres_links
        self.workers = WORKERS[:workers]
        seconds = {RELAYS[1]: apps.relay, SEARCHES[1]: apps.search, WEBHOOKS[1]: apps.webhooks}
        for second, part in ((name, make(parts.state)) for name, make in seconds.items()):
            parts.runners[second] = Runner(parts.state, _another(part, second, parts.state))
        self._extra: dict[str, dict[str, str]] = {name: {} for name in (*WORKERS, *BESIDE, GATEWAY)}
        for name, extra in self._extra.items():
            self._alter(name, self._environ(name, extra))
        self._add_listeners()

    def _alter(self, name: str, environ: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
        part = self.parts.runners[name].part
        self.parts.runners[name] = Runner(self.state, replace(part, environ=lambda: environ(part.environ())))

    def _environ(self, name: str, extra: Mapping[str, str]) -> Callable[[Mapping[str, str]], dict[str, str]]:
        kafka = f"127.0.0.1:{self.kafka_links[name].port}"

        def environ(own: Mapping[str, str]) -> dict[str, str]:
            changed = {**own, **{f"KAFKA_BOOTSTRAP_{region}": kafka for region in REGIONS}}
            if name in (GATEWAY, *WEBHOOKS):
                changed |= _TUNING | {"EGRESS_ALLOW": f"127.0.0.1/32:{self.receiver.port}"}
            if name in self.postgres_links:
                real, link = f":{self.state.port('postgres')}/", f":{self.postgres_links[name].port}/"
                changed |= {key: value.replace(real, link) for key, value in own.items() if key.startswith("DATABASE_URL_")}
                changed |= {"REGIONS": ",".join(SERVED), **dict.fromkeys(_SESSIONS, str(SESSION_SECONDS))}
            changed |= extra
            return changed

        return environ

    def _add_listeners(self) -> None:
        """A broker tells its clients where to connect next, so each link needs a listener that advertises the link."""
        part = self.parts.runners["kafka"].part
        config = self.state.root / "kafka" / "server.properties"

        def command() -> Sequence[str]:
            argv = part.command()
            config.write_text(self._with_listeners(config.read_text()))
            return argv

        ports = (*part.ports, *map(_listener_port, self.kafka_links))
        self.parts.runners["kafka"] = Runner(self.state, replace(part, command=command, ports=ports))

    def _with_listeners(self, properties: str) -> str:
        lines = dict(line.split("=", 1) for line in properties.splitlines())
        for index, (name, link) in enumerate(self.kafka_links.items()):
            lines["listeners"] += f",LINK{index}://127.0.0.1:{self.state.port(_listener_port(name))}"
            lines["advertised.listeners"] += f",LINK{index}://127.0.0.1:{link.port}"
            lines["listener.security.protocol.map"] += f",LINK{index}:PLAINTEXT"
        lines["inter.broker.listener.name"] = "PLAINTEXT"
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def part(self, name: str) -> Part:
        """How the part is run."""
        return self.parts.runners[name].part

    def log_file(self, name: str) -> Path:
        """The part's log, of all its lives."""
        return self.parts.runners[name].log_file

    def is_running(self, name: str) -> bool:
        """Whether its process is there, frozen or not."""
        return self.parts.pid(name) is not None

    async def start(self, name: str, *, ready: bool = True, environ: Mapping[str, str] | None = None) -> None:
        """Start a part with additions to its environment and, unless told otherwise, wait until it answers."""
        if name in self._extra:
            self._extra[name].clear()
            self._extra[name].update(environ or {})
        await asyncio.to_thread(self.parts.start, name)
        if ready:
            await asyncio.to_thread(self.parts.wait_ready, name)

    async def signal(self, name: str, number: Signals) -> int:
        """Send a signal. Returns the pid. Raises :class:`NotRunning`."""
        pid = self.parts.pid(name)
        if pid is None:
            raise NotRunning(f"{name} does not run: {self.parts.runners[name].last_lines()}")
        psutil.Process(pid).send_signal(number)
        return pid

    async def kill(self, name: str, number: Signals = SIGKILL, seconds: float = _END_SECONDS) -> None:
        """Send a signal that ends the part and wait until it has. Raises :class:`StillRunning`."""
        await self.signal(name, number)
        await self.ended(name, seconds)

    async def ended(self, name: str, seconds: float = _END_SECONDS) -> None:
        """Wait until the process is gone. Raises :class:`StillRunning`."""
        if not await asyncio.to_thread(wait_for, lambda: not self.is_running(name), seconds):
            raise StillRunning(f"{name} runs {seconds:.0f} s after it should have ended")

    async def only(self, workers: Mapping[str, Mapping[str, str]]) -> None:
        """Let just these workers run, started anew with these additions to their environments."""
        await asyncio.gather(*(asyncio.to_thread(self.parts.stop, name) for name in WORKERS))
        await asyncio.gather(*(self.start(name, environ=environ) for name, environ in workers.items()))

    async def heal(self) -> None:
        """All links pass, all parts run, unfrozen and without fault points."""
        for link in (*self.kafka_links.values(), *self.postgres_links.values()):
            link.heal()
        for name in (*SERVERS, GATEWAY, *BESIDE, *self.workers):
            if self.is_running(name):
                await self.signal(name, SIGCONT)
        for name in SERVERS:
            if not self.is_running(name):
                await self.start(name)
        for name in (GATEWAY, *BESIDE, *WORKERS):
            await self._restore(name)

    async def _restore(self, name: str) -> None:
        wanted = name not in WORKERS or name in self.workers
        if self.is_running(name) and (not wanted or self._extra[name]):
            await asyncio.to_thread(self.parts.stop, name)
        if wanted and not self.is_running(name):
            await self.start(name)


class NotRunning(AssertionError):
    """A part that should run has ended by itself."""


class StillRunning(AssertionError):
    """A part did not end in time."""


def _another(part: Part, name: str, state: State) -> Part:
    """The same once more, under another name and on another port."""

    def environ() -> dict[str, str]:
        own = part.environ()
        return {**own, **{setting: str(state.port(name)) for setting in _PORT_SETTINGS if setting in own}}

    return replace(part, name=name, ports=(name,), environ=environ, ready=lambda: http_answers(state.port(name), "/health", status=200))


def _listener_port(name: str) -> str:
    return f"kafka-of-{name}"


@asynccontextmanager
async def running_cluster(workers: int = 3) -> AsyncIterator[Cluster]:
    """A cluster in a directory of its own, on free ports; deleted at the end but for the logs, if HYRELOG_FAULT_LOGS says where to."""
    # A lane may wait in a thread for a minute. With no more threads than cores, what would start Kafka again would wait for one, too.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=_THREADS))
    # Not pytest's tmp_path: PostgreSQL, run as another user when we are root, must be able to get there.
    with tempfile.TemporaryDirectory(prefix="hyrelog-faults-", ignore_cleanup_errors=True) as directory:
        state = State(Path(directory), fixed_ports=False)
        async with AsyncExitStack() as exits:
            kafka = {name: Link(partial(state.port, _listener_port(name))) for name in (GATEWAY, *BESIDE, *WORKERS)}
            postgres = {name: Link(partial(state.port, "postgres")) for name in (*BESIDE, *WORKERS)}
            for link in (*kafka.values(), *postgres.values()):
                await exits.enter_async_context(link.listening())
            receiver = await exits.enter_async_context(receiving())
            stack = Stack(state, workers=MAX_WORKERS, supervise=False)
            cluster = Cluster(stack, receiver, kafka, postgres, workers)
            exits.push_async_callback(asyncio.to_thread, stack.destroy)
            if kept := os.environ.get("HYRELOG_FAULT_LOGS"):
                exits.callback(shutil.copytree, state.root / "log", kept, dirs_exist_ok=True)
            cluster_template.copy_into(state)
            try:
                await asyncio.to_thread(stack.up, (*SERVERS, GATEWAY, *BESIDE, *cluster.workers))
            except PartError as error:
                raise RuntimeError(str(error)) from None
            yield cluster
