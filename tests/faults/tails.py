"""Tails under faults: clients that resume by themselves, and whose sequence must be the stored one."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp
import orjson

from ops.client import Access, Refused
from ops.tail.command import EVENT
from ops.tail.parser import Message
from ops.tail.stream import TIMEOUT, Source, Tail
from tests.faults.standing import DRAIN_SECONDS, superuser

if TYPE_CHECKING:
    from schemas.topics import Region
    from tests.faults.checker import Verdict
    from tests.faults.cluster import Cluster

_OPEN_SECONDS = 30.0
_STORED = """
SELECT workspace_id, seq, id FROM events WHERE company_id = $1 AND ($2::uuid IS NULL OR workspace_id = $2) ORDER BY workspace_id, seq
"""

Told = tuple[int, str]
"""seq and id of an event."""


@dataclass(slots=True)
class Listener:
    """A client of a company's tail, or of one of its workspaces'. It is open, or begins ``since``, before the first event."""

    region: Region
    key: str = field(repr=False)
    company_id: str
    workspace_id: str | None = None
    since: str | None = None
    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    """By workspace, as it came."""
    losses: int = 0
    troubles: list[str] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """How a violation calls it."""
        return f"tail of {'workspace ' + self.workspace_id if self.workspace_id else 'company ' + self.company_id}"

    async def listen(self, session: aiohttp.ClientSession, base_url: str) -> None:
        """Listen until cancelled."""
        tail = Tail(session, Source(Access(base_url, self.key)), self._note, since=self.since)
        try:
            async with aclosing(tail.batches()) as batches:
                async for batch in batches:
                    self.is_open.set()
                    for message in batch.messages:
                        self._take(message)
        except Refused as error:
            self.troubles.append(f"was refused: {error}")

    def _note(self, sentence: str) -> None:
        self.losses += "trying again" in sentence

    def _take(self, message: Message) -> None:
        data = orjson.loads(message.data)
        if message.event == EVENT:
            self.told[data["workspaceId"]].append((data["seq"], data["id"]))
        else:
            self.troubles.append(f"was told of a {message.event}: {data}")


@asynccontextmanager
async def listening(base_url: str, listeners: Sequence[Listener]) -> AsyncIterator[None]:
    """Let all of them listen until the block ends."""
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
        tasks = [asyncio.create_task(each.listen(session, base_url)) for each in listeners]
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await asyncio.gather(*(each.is_open.wait() for each in listeners))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def check(cluster: Cluster, listeners: Sequence[Listener], verdict: Verdict) -> None:
    """Wait until each was told of as many events as are stored, and compare."""
    began = time.monotonic()
    for listener in listeners:
        stored = await _stored(cluster, listener)
        count = sum(map(len, stored.values()))
        while sum(map(len, listener.told.values())) < count and time.monotonic() - began < DRAIN_SECONDS and not listener.troubles:
            await asyncio.sleep(0.2)
        check_listener(listener, stored, verdict)


async def _stored(cluster: Cluster, listener: Listener) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = defaultdict(list)
    async with superuser(cluster, listener.region) as connection:
        workspace = listener.workspace_id and UUID(listener.workspace_id)
        for row in await connection.fetch(_STORED, UUID(listener.company_id), workspace):
            found[str(row["workspace_id"])].append((row["seq"], str(row["id"])))
    return found


def check_listener(listener: Listener, stored: Mapping[str, Sequence[Told]], verdict: Verdict) -> None:
    """Of each workspace it was told exactly what is stored, in the order of seq."""
    for trouble in listener.troubles:
        verdict.blame(f"{listener.name} {trouble}")
    for workspace in stored.keys() | listener.told.keys():
        told, wanted = listener.told.get(workspace, []), list(stored.get(workspace, ()))
        if told != wanted:
            verdict.blame(f"{listener.name}: of workspace {workspace} {_difference(told, wanted)}")
    verdict.counts["events told to tails"] += sum(map(len, listener.told.values()))
    verdict.counts["tails interrupted"] += listener.losses


def _difference(told: Sequence[Told], wanted: Sequence[Told]) -> str:
    at = next((i for i, pair in enumerate(zip(told, wanted, strict=False)) if pair[0] != pair[1]), min(len(told), len(wanted)))
    lost, doubled = len(set(wanted) - set(told)), len(told) - len(set(told))
    return f"{len(told)} events were told of {len(wanted)}, {lost} lost, {doubled} doubled, the first difference at {at}"
