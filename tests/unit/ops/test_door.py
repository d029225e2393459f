"""The door: what counts against a key, what against an address, and what never reaches a database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ops.addresses import Proxies, network
from ops.auth import INGEST_POLICY, Authenticator, WrongAddress
from ops.door import Door
from ops.limits import NO_LIMIT, Limits
from ops.metrics import Metrics
from schemas.problems import Problem, RateLimited, Unauthorized, Unavailable
from schemas.topics import Region
from tests.support.keys import HEADER, SECRET, FakeClock, FakeKeys, header, per_minute


class Case:
    """A door with fakes behind it. Its clock stands 20 seconds into a minute."""

    def __init__(self, per_address: int = 5) -> None:
        self.clock = FakeClock()
        self.clock.now = 60_020.0
        self.keys = FakeKeys()
        metrics = Metrics(CollectorRegistry())
        self.auth = Authenticator(self.keys, (SECRET,), clock=self.clock, metrics=metrics, policy=INGEST_POLICY)
        self.limits = Limits(per_address, clock=self.clock, metrics=metrics)
        self.door = Door(self.auth, self.limits, Proxies(()))

    async def enter(self, key: bytes | None = HEADER, peer: str = "192.0.2.1") -> tuple[Problem | None, Mapping[str, str]]:
        """One request: what became of it, and the limits that its answer tells."""
        scope: dict[str, Any] = {"client": (peer, 1), "headers": [] if key is None else [(b"authorization", key)]}
        visit, problem = await self.door.enter(scope)
        return problem, {name.decode(): value.decode() for name, value in self.door.headers(visit)}


def told(limit: int, remaining: int) -> dict[str, str]:
    return {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(remaining), "x-ratelimit-reset": "1970-01-01T16:41:00.000000Z"}


async def test_a_good_key_counts_its_requests_and_tells_what_is_left() -> None:
    case = Case()
    case.keys.add(limits=per_minute(3))
    assert [await case.enter() for _ in range(3)] == [(None, told(3, left)) for left in (2, 1, 0)]
    problem, headers = await case.enter()
    assert isinstance(problem, RateLimited)
    assert problem.retry_after == 40
    assert headers == told(3, 0)


async def test_the_next_minute_begins_anew() -> None:
    case = Case()
    case.keys.add(limits=per_minute(1))
    await case.enter()
    case.clock.now += 39.9
    assert isinstance((await case.enter())[0], RateLimited)
    case.clock.now += 0.1
    assert (await case.enter())[0] is None


async def test_a_good_key_does_not_count_against_its_address() -> None:
    case = Case(per_address=1)
    case.keys.add()
    for _ in range(9):
        assert (await case.enter())[0] is None
    problem, headers = await case.enter(None)
    assert isinstance(problem, Unauthorized)
    assert headers == told(1, 0)


async def test_without_limits_the_numbers_are_large_and_never_fall() -> None:
    case = Case()
    case.keys.add()
    assert {str(await case.enter()) for _ in range(3)} == {str((None, told(NO_LIMIT, NO_LIMIT)))}


@pytest.mark.parametrize("key", [None, b"nonsense", header(1)])
async def test_requests_without_a_good_key_count_against_their_address(key: bytes | None) -> None:
    case = Case(per_address=2)
    assert [type((await case.enter(key))[0]) for _ in range(3)] == [Unauthorized, Unauthorized, RateLimited]
    assert isinstance((await case.enter(key, peer="192.0.2.2"))[0], Unauthorized)


async def test_beyond_its_limit_an_address_reaches_no_database() -> None:
    case = Case(per_address=3)
    for number in range(9):
        await case.enter(header(number))
    assert len(case.keys.asked) == 3


async def test_requests_at_the_same_moment_are_counted_before_any_is_judged() -> None:
    case = Case(per_address=3)
    case.keys.gate.clear()
    requests = [asyncio.ensure_future(case.enter(header(number))) for number in range(9)]
    await asyncio.sleep(0)
    case.keys.gate.set()
    problems = [problem for problem, _ in await asyncio.gather(*requests)]
    assert sum(isinstance(problem, RateLimited) for problem in problems) == 6
    assert len(case.keys.asked) == 3


async def test_an_ipv6_site_counts_as_one_address() -> None:
    case = Case(per_address=2)
    for number in range(9):
        await case.enter(header(number), peer=f"2001:db8::{number}:1")
    assert len(case.keys.asked) == 2
    await case.enter(header(99), peer="2001:db8:0:1::1")
    assert len(case.keys.asked) == 3


async def test_a_key_that_was_good_before_is_judged_though_its_address_is_at_its_limit() -> None:
    """Who shares an address with a guesser must not be shut out."""
    case = Case(per_address=1)
    case.keys.add()
    await case.enter()
    await case.enter(None)
    case.clock.now += 15  # no longer fresh
    assert (await case.enter())[0] is None


async def test_a_key_from_a_wrong_address_counts_against_that_address_and_not_against_the_key() -> None:
    case = Case(per_address=2)
    case.keys.add(limits=per_minute(1), allowlist=(network("192.0.2.1"),))
    thief = [type((await case.enter(peer="198.51.100.1"))[0]) for _ in range(3)]
    assert thief == [WrongAddress, WrongAddress, RateLimited]
    assert (await case.enter())[0] is None


async def test_an_outage_does_not_lift_the_limit_of_an_address() -> None:
    case = Case(per_address=2)
    case.keys.failing[Region.EU] = ConnectionRefusedError
    assert [type((await case.enter(header(number)))[0]) for number in range(4)] == [Unavailable] * 2 + [RateLimited] * 2
    assert len(case.keys.asked) == 2


async def test_an_outage_counts_against_no_key_that_was_good_before() -> None:
    case = Case(per_address=1)
    case.keys.add()
    await case.enter()
    case.keys.failing[Region.EU] = ConnectionRefusedError
    case.clock.now += 15 * 60
    assert [type((await case.enter())[0]) for _ in range(3)] == [Unavailable] * 3


async def test_the_limit_of_addresses_can_be_switched_off() -> None:
    case = Case(per_address=0)
    problem, headers = await case.enter(None)
    assert isinstance(problem, Unauthorized)
    assert headers == told(NO_LIMIT, NO_LIMIT)
