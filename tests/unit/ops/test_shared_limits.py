"""Adding up with other processes goes on, whatever the store answers."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from ops import shared_limits
from ops.clock import SystemClock
from ops.metrics import Metrics
from ops.shared_limits import SharedLimits


async def test_an_answer_that_nobody_expected_counts_as_away_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else limits would silently stop being shared until the process is started again."""
    for name in ("_INTERVAL_SECONDS", "_PAUSE_SECONDS"):
        monkeypatch.setattr(shared_limits, name, 0.0)
    shared = SharedLimits("redis://127.0.0.1:1", [], clock=SystemClock(), metrics=Metrics(CollectorRegistry()))
    answers = [True]

    async def add_up() -> None:
        if answers[-1]:
            raise RuntimeError("not of the client")

    monkeypatch.setattr(shared, "add_up", add_up)
    shared.start()
    for is_wrong in (True, False):
        answers.append(is_wrong)
        async with asyncio.timeout(5):
            while shared.away is not is_wrong:
                await asyncio.sleep(0)
    await shared.stop()
