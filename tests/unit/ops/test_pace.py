"""When to look again."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ops.pace import Alarm, Pace

PATIENCE = 5.0
LONG = 3600.0


@given(st.lists(st.booleans()), st.floats(0.001, 100), st.floats(1, 1000))
def test_the_interval_is_within_its_bounds_and_short_after_whatever_was_not_quiet(
    looks: list[bool], shortest: float, factor: float
) -> None:
    pace = Pace(shortest, shortest * factor)
    for quiet in looks:
        before = pace.interval
        pace.note(quiet=quiet)
        assert shortest <= pace.interval <= shortest * factor
        assert pace.interval >= before if quiet else pace.interval == shortest


@given(st.integers(0, 40))
def test_quiet_looks_double_the_interval_up_to_the_longest(count: int) -> None:
    pace = Pace(1, 1000)
    for _ in range(count):
        pace.note(quiet=True)
    assert pace.interval == min(2**count, 1000)


async def test_a_sleep_ends_by_itself() -> None:
    async with asyncio.timeout(PATIENCE):
        await Alarm().sleep(0.001)


async def test_a_sleep_under_way_is_ended_early() -> None:
    alarm = Alarm()
    sleeping = asyncio.create_task(alarm.sleep(LONG))
    await asyncio.sleep(0)
    alarm.within(0.001)
    async with asyncio.timeout(PATIENCE):
        await sleeping


async def test_what_is_asked_for_between_two_sleeps_ends_the_next_one() -> None:
    """Else what comes during a look would wait for as long as all is quiet."""
    alarm = Alarm()
    alarm.within(0)
    async with asyncio.timeout(PATIENCE):
        await alarm.sleep(LONG)


async def test_a_sleep_is_not_put_off() -> None:
    alarm = Alarm()
    alarm.within(0)
    alarm.within(LONG)
    async with asyncio.timeout(PATIENCE):
        await alarm.sleep(LONG)


async def test_one_request_ends_one_sleep() -> None:
    alarm = Alarm()
    alarm.within(0)
    await alarm.sleep(LONG)
    sleeping = asyncio.create_task(alarm.sleep(LONG))
    done, _ = await asyncio.wait({sleeping}, timeout=0.02)
    assert not done
    sleeping.cancel()
