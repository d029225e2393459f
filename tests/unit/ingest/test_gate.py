"""The gate's looks: seldom while nothing is accepted, soon after something was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from ingest import gate as gates
from ingest.gate import Gate
from ingest.store import Standing, Store
from ops.clock import SystemClock
from ops.pace import Pace
from ops.settings import Settings
from schemas.topics import Region

PATIENCE = 5.0
LONG = 3600.0
PARTITION = 3


class Standings:
    """What Postgres says, and how often it was asked."""

    def __init__(self) -> None:
        self.looks = 0
        self.parked: str | None = None

    async def standing(self) -> dict[int, Standing]:
        self.looks += 1
        return {PARTITION: Standing(0, self.parked)}


class QuietGate(Gate):
    """A gate whose topic holds nothing."""

    async def _behind(self, standing: dict[int, Standing]) -> list[int]:
        return []


@pytest.fixture
def standings() -> Standings:
    return Standings()


@pytest.fixture
async def gate(standings: Standings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """One that has looked once, and would again in an hour."""
    monkeypatch.setattr(gates, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(gates, "_FIRST_LOOK_SECONDS", 0.01)
    made = QuietGate(cast(Settings, None), Region.EU, cast(Store, standings), SystemClock())
    made._pace = Pace(LONG, LONG)
    await made.start()
    await until(lambda: standings.looks == 1)
    yield made
    await made.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


async def test_an_event_after_a_quiet_spell_makes_it_look_soon(gate: Gate, standings: Standings) -> None:
    """A partition that was parked meanwhile is closed a moment after the first event."""
    standings.parked = "LOG_BEHIND"
    assert gate.closed(PARTITION) is None
    await until(lambda: gate.closed(PARTITION) is not None)
    assert gate.closed(PARTITION + 1) is None


async def test_while_events_come_it_looks_again_and_again(gate: Gate, standings: Standings) -> None:
    for looks in range(1, 4):
        gate.closed(PARTITION)
        await until(lambda looks=looks: standings.looks > looks)


async def test_while_events_come_it_looks_no_more_often_than_every_tick(
    gate: Gate, standings: Standings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_TICK_SECONDS", LONG)
    for _ in range(20):
        gate.closed(PARTITION)
        await asyncio.sleep(0)
    assert gate._alarm._due > asyncio.get_running_loop().time() + LONG / 2
    assert standings.looks == 1


async def test_it_slows_down_only_while_all_is_well(standings: Standings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed partitions are looked after as ever, so that they take events again soon after an operator has decided."""
    monkeypatch.setattr(gates, "_TICK_SECONDS", 0.001)
    monkeypatch.setattr(gates, "_QUIET_TICK_SECONDS", LONG)
    standings.parked = "LOG_BEHIND"
    made = QuietGate(cast(Settings, None), Region.EU, cast(Store, standings), SystemClock())
    await made.start()
    await until(lambda: standings.looks > 30)
    standings.parked = None
    await until(lambda: made.closed(PARTITION) is None)
    await made.stop()
