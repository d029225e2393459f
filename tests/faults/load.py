"""Bounded load through the HTTP API: singles, batches and bad requests of several workspaces, all written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from ops.kafka import partition_of
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.topics import Region
from tests.faults import keyed
from tests.faults.ledger import Ledger, Outcome, Request

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_BACK_OFF_SECONDS = 0.3
_BATCH_EVENTS = 20
_SINGLE_SHARE, _BAD_SHARE, _KEYED_SHARE = 0.8, 0.04, 0.4


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace and the key that writes to it."""

    region: Region
    company_id: str
    workspace_id: str
    key: str


def accounts(tenant: Tenant) -> list[Account]:
    """The workspaces of a new tenant."""
    return [Account(tenant.region, str(tenant.id), str(each.id), each.key or "") for each in tenant.workspaces]


def everywhere(cluster: Cluster, region: Region) -> list[Account]:
    """New workspaces of one company, one for each partition, so that every worker has work."""
    partitions = cluster.settings(Role.STREAMS).topic_partitions
    found: dict[int, Account] = {}
    while len(found) < partitions:
        for account in accounts(cluster.tenant(region, workspaces=4 * partitions)):
            found.setdefault(partition_of(account.workspace_id, partitions), account)
    return [found[partition] for partition in sorted(found)]


def event(marker: str, **changes: Any) -> dict[str, Any]:
    """An event that can be found again by its marker."""
    body: dict[str, Any] = {
        "category": "user",
        "action": "user.login",
        "outcome": "SUCCESS",
        "actor": {"id": marker, "email": "ada@example.test"},
        "resource": {"type": "door", "id": "r-1"},
        "metadata": {"marker": marker, "share": 0.5},
    }
    return body | changes


class Client:
    """Posts events and writes down what became of each request."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, ledger: Ledger) -> None:
        self._base_url = base_url
        self._session = session
        self.ledger = ledger

    async def post(self, account: Account, events: int = 1, *, bad: bool = False, batch: bool | None = None) -> Request:
        """Post that many events, as a batch when there are several; a bad request has one event that breaks a rule."""
        request = self.ledger.sent(account.workspace_id, events)
        bodies = [event(marker) for marker in request.markers]
        if bad:
            bodies[-1]["action"] = "not an action"
        is_batch = events > 1 if batch is None else batch
        return await self.send(account, request, bodies if is_batch else bodies[0])

    async def get(self, account: Account, path: str) -> Any:
        """The body of an answer of the query API."""
        async with self._session.get(self._base_url + path, headers={"Authorization": f"Bearer {account.key}"}) as response:
            return await response.json()

    async def send(self, account: Account, request: Request, body: Any) -> Request:
        """Post a body for a request written down before."""
        path = "/v1/events/batch" if isinstance(body, list) else "/v1/events"
        headers = {"Authorization": f"Bearer {account.key}", "Content-Type": "application/json"}
        began = time.monotonic()
        try:
            async with self._session.post(self._base_url + path, data=BytesIO(orjson.dumps(body)), headers=headers) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            request.outcome, request.answer = Outcome.UNKNOWN, type(error).__name__
            return request
        finally:
            request.seconds = time.monotonic() - began
        request.answer = str(response.status)
        request.problem = answer.get("error")
        request.retry_after = response.headers.get("Retry-After")
        if response.status in (200, 202):
            request.outcome = Outcome.ACCEPTED
            request.ids = tuple(each["id"] for each in answer["events"]) if isinstance(body, list) else (answer["id"],)
        else:
            request.outcome = Outcome.REFUSED if 400 <= response.status < 500 else Outcome.UNKNOWN
        return request


@asynccontextmanager
async def client(base_url: str, ledger: Ledger) -> AsyncIterator[Client]:
    """A client with a connection pool of its own."""
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, trust_env=False) as session:
        yield Client(base_url, session, ledger)


@asynccontextmanager
async def load(poster: Client, writers: Sequence[Account], *, seed: int, rate: float) -> AsyncIterator[None]:
    """``rate`` events a second, spread over the writers, until the block ends; then every request has ended, too."""
    stop = asyncio.Event()
    per_request = _SINGLE_SHARE + (1 - _SINGLE_SHARE) * _BATCH_EVENTS
    pause = per_request * len(writers) / rate
    producers = [
        asyncio.create_task(_produce(poster, account, random.Random(f"{seed}-{index}"), pause, stop))
        for index, account in enumerate(writers)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*producers)


async def make_known(poster: Client, writers: Sequence[Account]) -> None:
    """One event each, so that every key is known to ingest even while Postgres is away. All is at rest: nothing may be refused."""
    for request in await asyncio.gather(*(poster.post(account) for account in writers)):
        if request.outcome is not Outcome.ACCEPTED:
            raise AssertionError(f"a first event was answered {request.answer} after {request.seconds:.2f} s: {request.problem}")


async def _produce(poster: Client, account: Account, rng: random.Random, pause: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        events = 1 if rng.random() < _SINGLE_SHARE else _BATCH_EVENTS
        if rng.random() < _KEYED_SHARE:
            request = await keyed.insist(poster, account, rng, events, event)
        else:
            request = await poster.post(account, events, bad=rng.random() < _BAD_SHARE)
        wait = _BACK_OFF_SECONDS if request.outcome is Outcome.UNKNOWN else rng.uniform(0, 2 * pause)
        try:
            await asyncio.wait_for(stop.wait(), wait)
        except TimeoutError:
            continue
