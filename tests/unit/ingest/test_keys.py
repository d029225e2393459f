"""What is claimed for the keyed events of a request, and that a request refused for a conflict leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from ingest.accept import Acceptor
from ingest.claims import Claims, Kinds, Standing
from ingest.keys import Keys
from ingest.store import Claim, Holder
from ops.metrics import Metrics
from schemas.envelope import Receipt
from schemas.idempotency import content_hashes
from schemas.incoming import IncomingEvent, read
from schemas.problems import Detail, IdempotencyConflict
from schemas.topics import Region
from tests.support.keys import COMPANY, WORKSPACE

NOW = 1_770_000_000_000_000
SECRETS = (b"s" * 32,)
RECEIPT = Receipt(COMPANY, WORKSPACE, Region.EU, NOW, "0" * 32, None)


class Database:
    """Claims, kept in memory."""

    def __init__(self) -> None:
        self.holders: dict[str, Holder] = {}

    async def claim(self, claims: Sequence[Claim]) -> dict[str, Holder | None]:
        met = {each.event_id: self.holders.setdefault(each.key, Holder(each.event_id, each.content, each.received_at)) for each in claims}
        return {proposed: holder for proposed, holder in met.items() if holder.event_id != proposed}

    async def release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            del self.holders[claim.key]


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def keys(database: Database, metrics: Metrics) -> Keys:
    acceptor = Mock(spec_set=Acceptor)
    numbers = count(1)
    acceptor.propose = lambda _received_at: f"id {next(numbers)}"
    kinds = Kinds(Claims(Region.EU, database, metrics), Claims(Region.EU, database, metrics))
    return Keys({Region.EU: kinds}, acceptor, SECRETS, metrics)


def event(key: str | None, action: str = "login") -> IncomingEvent:
    return read({"category": "auth", "action": action} | ({} if key is None else {"idempotencyKey": key}), NOW)


async def test_only_keyed_events_are_claimed_each_key_once(keys: Keys, database: Database) -> None:
    events = [event(None), event("a"), event("b"), event("a"), event(None)]
    judged = await keys.judge(events, RECEIPT, batch=True)
    assert judged.indexes == [1, 2]
    assert [(claim.key, claim.event_id, claim.received_at) for claim in judged.claims] == [("a", "id 1", NOW), ("b", "id 2", NOW)]
    assert [verdict.standing for verdict in judged.verdicts] == [Standing.FRESH, Standing.FRESH]
    assert database.holders["a"].content == content_hashes(SECRETS, b'{"action":"login","category":"auth"}')


async def test_an_event_is_published_under_the_claim_that_it_met(keys: Keys, database: Database) -> None:
    content = content_hashes(SECRETS, event("k").content)
    database.holders["k"] = Holder("first", content, NOW - 5)
    assert (await keys.judge([event("k")], RECEIPT, batch=False)).under(0) == ("first", NOW - 5, content)


async def test_an_event_whose_first_cannot_be_shown_is_published_under_its_own_id(keys: Keys, database: Database) -> None:
    content = content_hashes(SECRETS, event("k").content)
    database.holders["k"] = Holder("first", content, None)
    assert (await keys.judge([event("k")], RECEIPT, batch=False)).under(0) == ("id 1", NOW, content)


async def test_a_conflict_within_a_batch_is_found_before_anything_is_claimed(keys: Keys, database: Database, metrics: Metrics) -> None:
    events = [event("a"), event("b"), event("a", "logout"), event("b"), event("b", "logout")]
    with pytest.raises(IdempotencyConflict) as refused:
        await keys.judge(events, RECEIPT, batch=True)
    message = "stands in this batch before, with other content"
    assert refused.value.details == (Detail(message, "idempotencyKey", 2), Detail(message, "idempotencyKey", 4))
    assert database.holders == {}
    assert metrics.idempotency_conflicts.labels("EU")._value.get() == 2


@pytest.mark.parametrize(("batch", "index"), [(True, 2), (False, None)])
async def test_a_conflict_gives_back_what_was_claimed_for_the_rest(keys: Keys, database: Database, batch: bool, index: int | None) -> None:
    used = database.holders["used"] = Holder("first", b"c" * 32, None)
    events = [event("new"), event("newer"), event("used")] if batch else [event("used")]
    with pytest.raises(IdempotencyConflict) as refused:
        await keys.judge(events, RECEIPT, batch=batch)
    assert refused.value.details == (Detail("was used before, for an event with other content", "idempotencyKey", index),)
    assert database.holders == {"used": used}


async def test_no_more_conflicts_are_named_than_help(keys: Keys, database: Database) -> None:
    names = [str(number) for number in range(30)]
    database.holders |= {name: Holder("first", b"c" * 32, None) for name in names}
    with pytest.raises(IdempotencyConflict) as refused:
        await keys.judge([event(name) for name in names], RECEIPT, batch=True)
    assert len(refused.value.details) == 20
