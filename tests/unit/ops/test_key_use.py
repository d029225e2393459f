"""When keys were last used: in batches, once each, and again when the database is back."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from ops.auth import INGEST_POLICY, Authenticator
from ops.key_use import KeyUses
from ops.metrics import Metrics
from schemas.topics import Region
from tests.support.keys import ADDRESS, HEADER, KEY, SECRET, FakeClock, FakeKeys, header


class Case:
    """An authenticator that knows two keys, and what writes when they were used."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.keys = FakeKeys(Region.EU, Region.US)
        self.auth = Authenticator(self.keys, (SECRET,), clock=self.clock, metrics=Metrics(CollectorRegistry()), policy=INGEST_POLICY)
        self.uses = KeyUses(self.auth, self.keys, self.clock)
        self.keys.add()
        self.keys.add(header(2).decode().removeprefix("Bearer "), id="key-2")

    async def use(self, key: bytes = HEADER) -> None:
        if self.auth.cached(key, ADDRESS) is None:
            await self.auth.authenticate(key, ADDRESS)

    async def written(self) -> list[dict[str, int]]:
        """What the next writing writes."""
        self.keys.used.clear()
        self.clock.now += 1
        await self.uses.write()
        return self.keys.used


async def test_many_requests_are_one_write_with_the_last_ones_time() -> None:
    case = Case()
    for _ in range(100):
        await case.use()
        case.clock.now += 0.01
    await case.use(header(2))
    moment = case.clock.micros()
    assert await case.written() == [{"key-1": moment - 10_000, "key-2": moment}]


async def test_what_was_not_used_since_is_not_written_again() -> None:
    case = Case()
    await case.use()
    await case.use(header(2))
    await case.written()
    assert await case.written() == []
    await case.use(header(2))
    assert [list(each) for each in await case.written()] == [["key-2"]]


async def test_a_refreshed_key_keeps_its_last_use() -> None:
    case = Case()
    await case.use()
    moment = case.clock.micros()
    case.clock.now += 10
    await case.auth._judge_now(case.auth._digest(KEY.encode()), KEY.encode())
    assert await case.written() == [{"key-1": moment}]


async def test_what_an_outage_kept_is_written_when_it_is_over() -> None:
    case = Case()
    await case.use()
    moment = case.clock.micros()
    case.keys.failing[Region.EU] = ConnectionRefusedError
    assert await case.written() == []
    case.keys.failing.clear()
    assert await case.written() == [{"key-1": moment}]


async def test_the_last_of_it_is_written_at_shutdown() -> None:
    case = Case()
    case.uses.start()
    await case.use()
    await case.uses.stop()
    assert [list(each) for each in case.keys.used] == [["key-1"]]


async def test_many_keys_are_written_in_parts() -> None:
    case = Case()
    for number in range(2500):
        key = header(number + 10)
        case.keys.add(key.decode().removeprefix("Bearer "), id=f"key-{number + 10}")
        await case.use(key)
    assert [len(each) for each in await case.written()] == [1000, 1000, 500]
