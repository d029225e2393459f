"""Requests that wait share their looks at Postgres, and each is told in time whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from ingest.store import Outcomes, Store
from ingest.wait import Rejected, Waiters
from ops.metrics import Metrics
from schemas.event import StoredEvent
from tests.support.keys import COMPANY

LIMIT = 3


def event(event_id: str) -> StoredEvent:
    stored = Mock(spec_set=StoredEvent)
    stored.id = event_id
    return stored


class Database:
    """What became of events, and which were asked for at each look."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.rejected: set[str] = set()
        self.looks: list[set[str]] = []
        self.away: Exception | None = None
        self.looked = asyncio.Event()

    async def outcomes(self, wanted: Mapping[str, str]) -> Outcomes:
        ids = [each for each, company in wanted.items() if company == COMPANY]
        self.looks.append(set(ids))
        self.looked.set()
        if self.away is not None:
            raise self.away
        return Outcomes(
            {each: event(each) for each in ids if each in self.stored}, {each: "POISON" for each in ids if each in self.rejected}
        )


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def waiters(database: Database) -> AsyncIterator[Waiters]:
    store = Mock(spec_set=Store)
    store.outcomes = database.outcomes
    made = Waiters(store, LIMIT, Metrics(CollectorRegistry()))
    yield made
    await made.stop()


async def test_a_stored_event_is_handed_to_its_waiter(waiters: Waiters, database: Database) -> None:
    waiting = asyncio.create_task(waiters.wait("a", COMPANY, 5))
    await database.looked.wait()
    database.stored.add("a")
    stored = await waiting
    assert stored is not None
    assert stored.id == "a"


async def test_all_who_wait_share_a_look(waiters: Waiters, database: Database) -> None:
    waiting = [asyncio.create_task(waiters.wait(each, COMPANY, 5)) for each in ("a", "b")]
    await database.looked.wait()
    assert database.looks[0] == {"a", "b"}
    database.stored |= {"a", "b"}
    assert [each and each.id for each in await asyncio.gather(*waiting)] == ["a", "b"]


async def test_a_rejected_event_ends_the_waiting(waiters: Waiters, database: Database) -> None:
    database.rejected.add("a")
    with pytest.raises(Rejected, match="POISON"):
        await waiters.wait("a", COMPANY, 5)


async def test_when_the_time_is_over_there_is_nothing(waiters: Waiters) -> None:
    assert await waiters.wait("a", COMPANY, 0.05) is None
    assert not waiters.full


@pytest.mark.parametrize("error", [ConnectionRefusedError(), RuntimeError("a fault of ours")])
async def test_a_look_that_fails_is_followed_by_another(waiters: Waiters, database: Database, error: Exception) -> None:
    database.away = error
    waiting = asyncio.create_task(waiters.wait("a", COMPANY, 5))
    await database.looked.wait()
    database.away = None
    database.stored.add("a")
    assert await waiting is not None


async def test_nobody_looks_when_nobody_waits(waiters: Waiters, database: Database) -> None:
    database.stored |= {"a", "b"}
    await waiters.wait("a", COMPANY, 5)
    looks = len(database.looks)
    await asyncio.sleep(0.1)
    assert len(database.looks) == looks
    assert await waiters.wait("b", COMPANY, 5) is not None


async def test_no_more_than_the_limit_wait(waiters: Waiters, database: Database) -> None:
    waiting = [asyncio.create_task(waiters.wait(str(number), COMPANY, 5)) for number in range(LIMIT)]
    await database.looked.wait()
    assert waiters.full
    database.stored |= {str(number) for number in range(LIMIT)}
    await asyncio.gather(*waiting)
    assert not waiters.full


async def test_stopping_lets_everybody_go(waiters: Waiters, database: Database) -> None:
    """As when their time is over: the events are safe, so that a deploy must not look like an outage."""
    waiting = [asyncio.create_task(waiters.wait(each, COMPANY, 60)) for each in ("a", "b")]
    await database.looked.wait()
    await waiters.stop()
    assert await asyncio.gather(*waiting) == [None, None]


async def test_a_request_that_was_sent_again_is_told_too(waiters: Waiters, database: Database) -> None:
    """Both copies wait for one id; what the one is told, or that it leaves, must not keep the answer from the other."""
    waiting = [asyncio.create_task(waiters.wait("a", COMPANY, seconds)) for seconds in (0.05, 60, 60)]
    assert await waiting[0] is None
    database.stored.add("a")
    assert [each and each.id for each in await asyncio.gather(*waiting[1:])] == ["a", "a"]
    assert not waiters.full


async def test_a_client_that_leaves_is_no_longer_asked_for(waiters: Waiters, database: Database) -> None:
    leaving, staying = asyncio.create_task(waiters.wait("a", COMPANY, 60)), asyncio.create_task(waiters.wait("b", COMPANY, 60))
    await database.looked.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    database.looks.clear()
    database.looked.clear()
    await database.looked.wait()
    assert database.looks[0] == {"b"}
    database.stored.add("b")
    await staying
