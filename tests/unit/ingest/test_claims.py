"""Claims of concurrent requests share statements, and nothing that goes wrong with them keeps an event waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from ingest.claims import Claims, Standing, Verdict
from ingest.store import Claim, Holder
from ops.metrics import Metrics
from schemas.topics import Region
from tests.support.keys import COMPANY, WORKSPACE

SAME, OTHER = b"a" * 32, b"b" * 32
NOW = 1_770_000_000_000_000


@dataclass
class Database:
    """What stands in the tables; it answers once it may."""

    holders: dict[str, Holder] = field(default_factory=dict)
    statements: list[list[str]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    given_back: set[str] = field(default_factory=set)
    """Proposals that met a claim which was gone at the second look."""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def claim(self, claims: Sequence[Claim]) -> dict[str, Holder | None]:
        self.statements.append([claim.event_id for claim in claims])
        self.asked.set()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        met = {each.event_id: self.holders.setdefault(each.key, Holder(each.event_id, each.content, each.received_at)) for each in claims}
        return {
            proposed: None if proposed in self.given_back else holder for proposed, holder in met.items() if holder.event_id != proposed
        }

    async def release(self, claims: Sequence[Claim]) -> None:
        await self.may_answer.wait()
        self.released += [claim.event_id for claim in claims]


@pytest.fixture
def database() -> Database:
    database = Database()
    database.may_answer.set()
    return database


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
async def claims(database: Database, metrics: Metrics) -> AsyncIterator[Claims]:
    made = Claims(Region.EU, database, metrics)
    yield made
    await made.stop()


def claim(event_id: str, key: str = "k", content: bytes = SAME, received_at: int = NOW) -> Claim:
    return Claim(WORKSPACE, key, COMPANY, event_id, content, received_at)


async def standing(claims: Claims, event_id: str, key: str = "k") -> Standing:
    (verdict,) = await claims.claim([claim(event_id, key)])
    return verdict.standing


async def test_the_first_claim_of_a_key_is_fresh_and_the_next_ones_meet_it(claims: Claims) -> None:
    assert await claims.claim([claim("first")]) == [Verdict(Standing.FRESH, "first", NOW)]
    assert await claims.claim([claim("again", received_at=NOW + 1)]) == [Verdict(Standing.CLAIMED, "first", NOW)]
    ((conflict, _, _),) = await claims.claim([claim("other", content=OTHER)])
    assert conflict is Standing.CONFLICT


async def test_a_key_whose_event_is_stored_leads_to_it(claims: Claims, database: Database) -> None:
    database.holders["k"] = Holder("stored", SAME, None)
    (same, other) = await asyncio.gather(claims.claim([claim("again")]), claims.claim([claim("other", content=OTHER)]))
    assert [each.standing for each in (*same, *other)] == [Standing.SETTLED, Standing.CONFLICT]
    assert same[0].event_id == "stored"


async def test_a_claim_that_is_given_back_meanwhile_stops_nobody(claims: Claims, database: Database) -> None:
    database.holders["k"] = Holder("gone", OTHER, NOW - 1)
    database.given_back.add("own")
    assert await claims.claim([claim("own")]) == [Verdict(Standing.AWAY, "own", NOW)]


async def test_contents_are_the_same_while_the_secret_is_rotated(claims: Claims, database: Database) -> None:
    database.holders["k"] = Holder("stored", SAME, None)
    ((rotated, _, _),) = await claims.claim([claim("again", content=OTHER + SAME)])
    assert rotated is Standing.SETTLED


async def test_what_comes_while_a_statement_is_under_way_shares_the_next_one(claims: Claims, database: Database) -> None:
    database.may_answer.clear()
    first = asyncio.create_task(claims.claim([claim("1", "k 1")]))
    await database.asked.wait()
    more = [asyncio.create_task(claims.claim([claim(name, f"k {name}")])) for name in ("2", "3", "4")]
    await asyncio.sleep(0)
    database.may_answer.set()
    assert [verdict.event_id for (verdict,) in await asyncio.gather(first, *more)] == ["1", "2", "3", "4"]
    assert database.statements == [["1"], ["2", "3", "4"]]


async def test_under_load_statements_grow_instead_of_becoming_more(claims: Claims, database: Database) -> None:
    asking = []
    for number in range(50):
        asking.append(asyncio.create_task(standing(claims, str(number), str(number))))
        for _turn in range(5):
            await asyncio.sleep(0)
    assert set(await asyncio.gather(*asking)) == {Standing.FRESH}
    assert len(database.statements) < 15


async def test_a_database_that_hangs_delays_a_few_requests_and_the_next_ones_not_at_all(
    claims: Claims, database: Database, metrics: Metrics
) -> None:
    database.may_answer.clear()
    started = asyncio.get_running_loop().time()
    assert await asyncio.gather(*(standing(claims, name, name) for name in "abc")) == [Standing.AWAY] * 3
    delayed = asyncio.get_running_loop().time()
    assert [await standing(claims, name, name) for name in "def"] == [Standing.AWAY] * 3
    assert 0.2 < delayed - started < 0.5
    assert asyncio.get_running_loop().time() - delayed < 0.1
    assert len(database.statements) == 1
    assert metrics.unclaimed.labels("EU")._value.get() == 6
    database.may_answer.set()
    async with asyncio.timeout(5):
        while await standing(claims, "g", "g") is Standing.AWAY:
            await asyncio.sleep(0.05)


async def test_those_who_gather_behind_a_statement_that_hangs_go_on_in_time_too(claims: Claims, database: Database) -> None:
    database.may_answer.clear()
    first = asyncio.create_task(standing(claims, "1", "k 1"))
    await database.asked.wait()
    async with asyncio.timeout(1):
        assert set(await asyncio.gather(first, standing(claims, "2", "k 2"))) == {Standing.AWAY}
    database.may_answer.set()
    async with asyncio.timeout(5):
        while await standing(claims, "3", "k 3") is Standing.AWAY:
            await asyncio.sleep(0.05)
    assert ["2"] not in database.statements


@pytest.mark.parametrize("error", [ConnectionRefusedError(), RuntimeError("a fault of ours")])
async def test_without_an_answer_events_go_on_unclaimed(claims: Claims, database: Database, error: Exception) -> None:
    database.error = error
    assert await claims.claim([claim("own")]) == [Verdict(Standing.AWAY, "own", NOW)]
    assert await standing(claims, "next") is Standing.AWAY
    assert len(database.statements) == 1


async def test_no_more_gather_than_a_statement_should_hold(claims: Claims, database: Database) -> None:
    database.may_answer.clear()
    first = asyncio.create_task(standing(claims, "first", "first"))
    await database.asked.wait()
    many = asyncio.create_task(claims.claim([claim(str(number), str(number)) for number in range(4_990)]))
    await asyncio.sleep(0)
    surplus = await claims.claim([claim(f"surplus {number}", f"surplus {number}") for number in range(20)])
    assert {verdict.standing for verdict in surplus} == {Standing.AWAY}
    database.may_answer.set()
    assert {verdict.standing for verdict in await many} == {Standing.FRESH}
    await first


async def test_only_fresh_claims_are_given_back(claims: Claims, database: Database) -> None:
    database.holders |= {"claimed": Holder("x", SAME, NOW), "settled": Holder("y", SAME, None)}
    asked = [claim(f"{key} now", key) for key in ("new", "claimed", "settled")]
    await claims.release(asked, await claims.claim(asked))
    assert database.released == ["new now"]


async def test_giving_back_does_not_wait_for_a_database_that_hangs(claims: Claims, database: Database) -> None:
    asked = [claim("own")]
    verdicts = await claims.claim(asked)
    database.may_answer.clear()
    async with asyncio.timeout(1):
        await claims.release(asked, verdicts)
    assert database.released == []


async def test_a_client_that_leaves_takes_nobody_along(claims: Claims, database: Database) -> None:
    database.may_answer.clear()
    leaving, staying = (asyncio.create_task(standing(claims, name, name)) for name in ("leaving", "staying"))
    await database.asked.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    database.may_answer.set()
    assert await staying is Standing.FRESH


async def test_stopping_lets_everybody_go(claims: Claims, database: Database) -> None:
    database.may_answer.clear()
    flying = asyncio.create_task(standing(claims, "flying", "flying"))
    await database.asked.wait()
    gathered = asyncio.create_task(standing(claims, "gathered", "gathered"))
    await asyncio.sleep(0)
    await claims.stop()
    assert set(await asyncio.gather(flying, gathered)) == {Standing.AWAY}
