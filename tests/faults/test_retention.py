"""Retention and archive survive kill -9 in the middle of every step, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import pytest

from tests.faults.retention import Retention
from tests.support.stack import running_stack

SEED = 7


async def _run(kills: int) -> None:
    with running_stack(only=("kafka", "postgres", "s3")) as stack:
        world = await Retention(stack, SEED, kills).run()
    assert world.violations == []
    assert world.kills.total() >= kills, world.kills


@pytest.mark.timeout(300)
async def test_a_dozen_kills() -> None:
    await _run(12)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_fifty_kills_and_more() -> None:
    await _run(60)
