"""Management calls under load, all written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import orjson

from schemas.keys import Scope, make_key
from schemas.topics import Region
from tests.faults.standing import superuser

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_BACK_OFF_SECONDS = 0.3
MADE = "made by "
"""Begins the names of keys made here; a rotation copies the name."""

_BIND = "UPDATE api_key SET ip_allowlist = '{127.0.0.0/8, ::1}' WHERE company_id = $1 AND workspace_id IS NULL"


@dataclass(frozen=True, slots=True)
class Manager:
    """A company that manages its keys."""

    region: Region
    company_id: str
    key: str
    workspace_id: str
    workspace_key: str
    made: list[str] = field(default_factory=list)
    """Ids of the keys that it was told of."""


@dataclass(slots=True)
class Call:
    """One management call."""

    region: Region
    trace_id: str = field(default_factory=lambda: uuid4().hex)
    answer: str = ""
    """Status, or what went wrong."""


async def managers(cluster: Cluster, region: Region, count: int) -> list[Manager]:
    """New companies whose company keys may manage."""
    found = []
    async with superuser(cluster, region) as connection:
        for _ in range(count):
            tenant = cluster.tenant(region)
            await connection.execute(_BIND, tenant.id)
            workspace = tenant.workspaces[0]
            found.append(Manager(region, str(tenant.id), tenant.key or "", str(workspace.id), workspace.key or ""))
    return found


class Desk:
    """Makes management calls and writes down what became of each."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, calls: list[Call]) -> None:
        self._base_url = base_url
        self._session = session
        self._calls = calls

    async def create(self, manager: Manager, **changes: str) -> Call:
        """Make a key of the manager's workspace, or with another ``key``, ``workspace`` or ``name``."""
        call = self._noted(manager)
        path = f"/v1/workspaces/{changes.get('workspace', manager.workspace_id)}/keys"
        await self._send(manager, call, path, changes.get("key", manager.key), {"name": changes.get("name", f"{MADE}{call.trace_id}")})
        return call

    async def rotate(self, manager: Manager, key_id: str) -> Call:
        """Rotate a key."""
        call = self._noted(manager)
        await self._send(manager, call, f"/v1/keys/{key_id}/rotate", manager.key, {"overlapSeconds": 60})
        return call

    def _noted(self, manager: Manager) -> Call:
        call = Call(manager.region)
        self._calls.append(call)
        return call

    async def _send(self, manager: Manager, call: Call, path: str, key: str, body: Any) -> None:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "X-Trace-Id": call.trace_id}
        try:
            async with self._session.post(self._base_url + path, data=BytesIO(orjson.dumps(body)), headers=headers) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            call.answer = type(error).__name__
            return
        call.answer = str(response.status)
        if response.status == 201:
            manager.made.append(answer["id"])


@asynccontextmanager
async def load(base_url: str, who: Sequence[Manager], calls: list[Call], *, seed: int, pause: float = 1.0) -> AsyncIterator[None]:
    """About a call in ``pause`` seconds of each manager until the block ends; then every call has ended, too."""
    stop = asyncio.Event()
    async with desk(base_url, calls) as writing:
        at_work = [
            asyncio.create_task(_manage(writing, each, who, random.Random(f"{seed}-{i}"), pause, stop)) for i, each in enumerate(who)
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*at_work)


@asynccontextmanager
async def desk(base_url: str, calls: list[Call]) -> AsyncIterator[Desk]:
    """A desk with a connection pool of its own."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=False) as session:
        yield Desk(base_url, session, calls)


async def _manage(writing: Desk, own: Manager, who: Sequence[Manager], rng: random.Random, pause: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        call = await _some_call(writing, own, who, rng)
        try:
            await asyncio.wait_for(stop.wait(), rng.uniform(0, 2 * pause) if call.answer.isdigit() else _BACK_OFF_SECONDS)
        except TimeoutError:
            continue


async def _some_call(writing: Desk, own: Manager, who: Sequence[Manager], rng: random.Random) -> Call:
    kind = rng.choices(("create", "rotate", "foreign", "invalid", "workspace key", "unknown key"), (5, 4, 1, 1, 1, 1))[0]
    match kind:
        case "rotate" if own.made:
            return await writing.rotate(own, rng.choice(own.made))
        case "foreign":
            return await writing.create(own, workspace=rng.choice([each for each in who if each is not own]).workspace_id)
        case "invalid":
            return await writing.create(own, name="")
        case "workspace key":
            return await writing.create(own, key=own.workspace_key)
        case "unknown key":
            return await writing.create(own, key=make_key(own.region, Scope.COMPANY, rng.randbytes(24)))
        case _:
            return await writing.create(own)
