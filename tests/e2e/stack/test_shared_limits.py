"""Limits of several replicas on a real Valkey: they add up, and its absence costs accuracy but no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from valkey.exceptions import ValkeyError

from ops import shared_limits
from ops.clock import SystemClock
from ops.limits import MINUTE_MICROS, Counter, Table
from ops.metrics import Metrics
from ops.shared_limits import SharedLimits
from tests.support.doors import api, bearer
from tests.support.keys import FakeClock
from tests.support.stack import LocalStack
from tests.support.valkey import Valkey, running_valkey

LIMIT = 100


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


class Replica:
    """One process's counters, in step with the others' when told."""

    def __init__(self, valkey: Valkey, clock: FakeClock) -> None:
        self._clock = clock
        self._table = Table("key")
        self.metrics = Metrics(CollectorRegistry())
        self.shared = SharedLimits(valkey.url, [self._table], clock=clock, metrics=self.metrics)

    @property
    def counter(self) -> Counter:
        return self._table.of("key-1", LIMIT, self._clock.micros() // MINUTE_MICROS)

    async def use(self, count: int) -> int:
        """Count some requests and add up; what is left then."""
        self.counter.used += count
        await self.shared.add_up()
        return self.counter.left


@asynccontextmanager
async def replicas(valkey: Valkey, clock: FakeClock) -> AsyncIterator[tuple[Replica, Replica]]:
    first, second = Replica(valkey, clock), Replica(valkey, clock)
    yield first, second
    await first.shared.stop()
    await second.shared.stop()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


async def test_replicas_see_what_the_others_used(valkey: Valkey) -> None:
    async with replicas(valkey, FakeClock()) as (first, second):
        assert await first.use(30) == 70
        assert await second.use(20) == 50
        assert await first.use(1) == 49
        assert await first.use(0) == 49  # nothing to tell, nothing counted twice
        assert await second.use(60) == 0


async def test_of_too_many_for_a_round_the_busiest_go_first_and_none_is_forgotten(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_limits, "_COUNTS_PER_ROUND", 2)
    table = Table("key")
    shared = SharedLimits(valkey.url, [table], clock=FakeClock(), metrics=Metrics(CollectorRegistry()))
    counters = [table.of(f"key-{number}", LIMIT, 16) for number in range(3)]
    for counter, used in zip(counters, (1, 5, 9), strict=True):
        counter.used = used
    await shared.add_up()
    assert [counter.told for counter in counters] == [0, 5, 9]
    counters[2].used += 1
    await shared.add_up()
    assert [counter.told for counter in counters] == [1, 5, 10]
    await shared.stop()


async def test_a_new_minute_begins_at_nothing(valkey: Valkey) -> None:
    clock = FakeClock()
    async with replicas(valkey, clock) as (first, second):
        await first.use(30)
        await second.use(30)
        clock.now += 60
        assert await second.use(1) == 99
        assert await first.use(1) == 98


async def test_a_count_that_the_store_missed_is_not_sent_again_and_still_limits_its_own_process(valkey: Valkey) -> None:
    async with replicas(valkey, FakeClock()) as (first, second):
        valkey.stop()
        with pytest.raises((ValkeyError, OSError)):
            await first.use(30)
        assert first.counter.left == 70
        valkey.start()
        assert await first.use(1) == 69
        assert await second.use(1) == 98


async def test_a_count_whose_answer_was_lost_is_there_once(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replicas(valkey, FakeClock()) as (first, second):
        incr = first.shared._storage.incr

        async def lose_answer(*arguments: Any) -> int:
            await incr(*arguments)
            raise TimeoutError

        with monkeypatch.context() as patch:
            patch.setattr(first.shared._storage, "incr", lose_answer)
            with pytest.raises(TimeoutError):
                await first.use(30)
        assert await first.use(1) == 69
        assert await second.use(1) == 68


async def test_a_store_that_goes_and_comes_is_told_and_counted(valkey: Valkey) -> None:
    async with replicas(valkey, FakeClock()) as (replica, _):
        replica.shared.start()
        valkey.stop()
        replica.counter.used += 1
        await until(lambda: replica.shared.away)
        assert (replica.metrics.registry.get_sample_value("hyrelog_auth_limit_store_errors_total") or 0) >= 1
        valkey.start()
        await until(lambda: not replica.shared.away)
        assert replica.counter.told == 1


async def test_two_processes_hold_one_limit_together(stack: LocalStack, valkey: Valkey) -> None:
    """What one lets in, the other has no room for; a round takes a quarter of a second."""
    tenant = stack.tenant(overrides={"requestsPerMinute": 20})
    store = SecretStr(valkey.url)
    async with api(stack, rate_limit_store_url=store) as first, api(stack, rate_limit_store_url=store) as second:

        async def left(client: httpx.AsyncClient) -> int:
            answer = await client.get("/v1/events", headers=bearer(tenant.key))
            return int(answer.headers["x-ratelimit-remaining"])

        await until(lambda: SystemClock().micros() % MINUTE_MICROS < 50 * 1_000_000)
        for _ in range(15):
            await left(first)
        async with asyncio.timeout(10):
            while await left(second) > 3:
                await asyncio.sleep(0.3)
        assert await _notices(stack, first) == []
        valkey.stop()
        statuses = {(await client.get("/v1/events", headers=bearer(tenant.key))).status_code for client in (first, second)}
        assert statuses <= {200, 429}


async def _notices(stack: LocalStack, client: httpx.AsyncClient) -> list[str]:
    health = await client.get("/internal/health", headers={"x-internal-token": stack.internal_token})
    found: list[str] = health.json()["notices"]
    return found
