"""Retention and archive survive kill -9 in the middle of every step, and nothing is lost, doubled or left behind."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ops.local.stack import SERVERS
from tests.faults.retention import STEP_DAYS, Retention
from tests.support.stack import running_stack

SEED = 7


async def _run(kills: int, steps: Sequence[int], chance: float) -> None:
    with running_stack(only=SERVERS) as stack:
        world = await Retention(stack, SEED, kills, steps, chance).run()
    assert world.violations == []
    assert world.kills.total() >= kills, world.kills


@pytest.mark.timeout(300)
async def test_some_kills() -> None:
    await _run(8, STEP_DAYS[2:5:2], 0.4)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_fifty_kills_and_more() -> None:
    await _run(60, STEP_DAYS, 0.65)
