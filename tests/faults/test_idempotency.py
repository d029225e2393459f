"""A thousand concurrent clients with a hundred keys, over two ingest processes that are killed meanwhile: a hundred events.

Each sends its request again and again, as if the answer had been lost, until the last kill is over and it is answered once more.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from ops.local.environment import Role, inherited, service_environ
from ops.local.part import Part
from ops.local.probes import http_answers
from ops.local.runner import Runner
from ops.local.stack import SERVERS
from ops.local.state import State
from tests.support.doors import bearer
from tests.support.posting import BATCH, LEAST, SINGLE
from tests.support.stack import LocalStack, running_stack

KEYS, COPIES = 100, 10
INGEST, WORKER, POSTGRES = ("ingest-1", "ingest-2"), "worker-1", "postgres"
KILLS = (INGEST[0], WORKER, INGEST[1], POSTGRES, INGEST[0], WORKER)
_ANSWERS_BETWEEN = 200
_PATIENCE_SECONDS = 180.0
_ANSWER_SECONDS = 10.0
_BATCH_SHARE = 0.1
_PAUSE_SECONDS = (1.0, 3.0)
_ROOT = Path(__file__).parents[2]
_FATES = """
SELECT id::text, id::text AS fate FROM events WHERE workspace_id = $1
UNION SELECT id::text, event_id::text FROM event_alias WHERE workspace_id = $1
UNION SELECT id::text, reason FROM rejected WHERE workspace_id = $1
"""


@dataclass(slots=True)
class Ledger:
    """The ids that were answered for each key, and how often a request had to be sent again, and why."""

    ids: dict[str, set[str]] = field(default_factory=dict)
    answered: int = 0
    again: dict[str, int] = field(default_factory=dict)

    def note(self, keys: Sequence[str], ids: Sequence[str]) -> None:
        self.answered += 1
        for key, event_id in zip(keys, ids, strict=True):
            self.ids.setdefault(key, set()).add(event_id)

    def note_again(self, reason: str) -> None:
        self.again[reason] = self.again.get(reason, 0) + 1


class Client:
    """Sends requests until they are answered, to either process."""

    def __init__(self, stack: LocalStack, key: str | None, session: aiohttp.ClientSession) -> None:
        self._doors = [f"http://127.0.0.1:{stack.state.port(name)}" for name in INGEST]
        self._headers = bearer(key)
        self.waiting: dict[str, str] = {}
        """What is asked for beside: to be told what the worker decided, even if a claim took too long."""
        self._session = session
        self._dice = random.Random(5)
        self.ledger = Ledger()
        self.is_over = False
        """Whether all that was to be killed has been."""

    async def send(self, keys: Sequence[str]) -> None:
        """One event, or a batch, until it is answered after the last kill."""
        while True:
            was_last = self.is_over
            if await self._try(keys) and was_last:
                return
            await asyncio.sleep(self._dice.uniform(*_PAUSE_SECONDS))

    async def _try(self, keys: Sequence[str]) -> bool:
        try:
            status, answer = await self.post([event(key) for key in keys])
        except (aiohttp.ClientError, TimeoutError) as error:
            self.ledger.note_again(type(error).__name__)
            return False
        if status == 503:
            self.ledger.note_again("503")
            return False
        assert status in (200, 202), answer
        self.ledger.note(keys, [each["id"] for each in answer["events"]] if len(keys) > 1 else [answer["id"]])
        return True

    async def post(self, events: Sequence[dict[str, Any]]) -> tuple[int, Any]:
        """The answer of one of the processes. Raises what aiohttp raises when there is none."""
        path, body = (SINGLE, events[0]) if len(events) == 1 else (BATCH, events)
        async with self._session.post(self._dice.choice(self._doors) + path, json=body, headers=self._headers | self.waiting) as answer:
            return answer.status, await answer.json()


def event(key: str, **more: str) -> dict[str, Any]:
    return LEAST | {"idempotencyKey": key, "metadata": {"of": key}} | more


def ingest_part(state: State, name: str) -> Part:
    """One more ingest process, as production runs it."""

    def environ() -> dict[str, str]:
        return inherited() | service_environ(state, Role.INGEST) | {"HTTP_PORT": str(state.port(name)), "REGIONS": "US"}

    return Part(
        name=name,
        command=lambda: [sys.executable, "-m", "ingest"],
        ready=lambda: http_answers(state.port(name), "/ready", status=200),
        cwd=_ROOT,
        ports=(name,),
        environ=environ,
    )


async def bring_up(stack: LocalStack, name: str) -> None:
    await asyncio.to_thread(stack.parts.start, name)
    await asyncio.to_thread(stack.parts.wait_ready, name)


@pytest.fixture
async def small_stack() -> AsyncIterator[LocalStack]:
    """The servers, a worker, two ingest processes."""
    with running_stack(only=(*SERVERS, WORKER)) as stack:
        for name in INGEST:
            stack.parts.runners[name] = Runner(stack.state, ingest_part(stack.state, name))
            await bring_up(stack, name)
        yield stack


async def kill_all(stack: LocalStack, client: Client) -> None:
    """Kill -9 one process after the other while requests are answered, and start it again."""
    for name in KILLS:
        answered = client.ledger.answered
        while client.ledger.answered < answered + _ANSWERS_BETWEEN:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(stack.parts.kill, name)
        await bring_up(stack, name)
    client.is_over = True


async def fates(stack: LocalStack, workspace: str, ids: set[str]) -> dict[str, str]:
    """What every id of the workspace leads to, once all of these lead somewhere."""
    database = await asyncpg.connect(stack.superuser_url())
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = {row["id"]: row["fate"] for row in await database.fetch(_FATES, workspace)}
                if ids <= found.keys():
                    return found
                await asyncio.sleep(0.2)
    finally:
        await database.close()


async def test_a_thousand_clients_with_a_hundred_keys_store_a_hundred_events(small_stack: LocalStack) -> None:
    workspace = small_stack.tenant().workspaces[0]
    dice = random.Random(17)
    names = [f"key {number}" for number in range(KEYS)] * COPIES
    dice.shuffle(names)
    requests = [[name, *(set(dice.sample(names, 3)) - {name} if dice.random() < _BATCH_SHARE else ())] for name in names]
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(small_stack, workspace.key, session)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(kill_all(small_stack, client), *(client.send(keys) for keys in requests))
        ledger = client.ledger
        assert ledger.again, "no answer was ever lost"
        leads = await fates(small_stack, str(workspace.id), set().union(*ledger.ids.values()))
        firsts = {key: {leads[event_id] for event_id in ids} for key, ids in ledger.ids.items()}
        assert all(len(found) == 1 for found in firsts.values()), firsts
        stored = {event_id for event_id, fate in leads.items() if event_id == fate}
        assert len(stored) == KEYS
        assert stored == set().union(*firsts.values())
        client.waiting = {"Prefer": "wait=30"}
        for name, found in firsts.items():
            status, answer = await client.post([event(name, outcome="FAILURE")])
            assert (status, answer["code"]) == (409, "IDEMPOTENCY_CONFLICT")
            status, answer = await client.post([event(name)])
            assert (status, answer["id"]) == (200, found.pop())
