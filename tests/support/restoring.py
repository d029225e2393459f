"""Restore requests in any state, without those who would have brought them there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from ops.clock import Clock, SystemClock
from ops.objects import SimulatedGlacier, client
from ops.restore.rows import Person
from ops.settings import Settings
from schemas.restore import State, Tier
from schemas.retention import DAY_MICROS
from tests.support.chains import BASE_TIME
from tests.support.retiring import REGION, Database, Retiring

ANN = Person("ann", "ann@customer.example")
"""Who asks."""
OLGA = Person("olga", "olga@operator.example")
"""Who decides."""
BEGUN = frozenset({State.INITIATING, State.IN_PROGRESS, State.COMPLETED, State.EXPIRED})
DONE = frozenset({State.COMPLETED, State.EXPIRED})


def columns(state: State, *, until: int = BASE_TIME + 7 * DAY_MICROS) -> dict[str, Any]:
    """What a row has to have in that state, besides what it is made with."""
    decided = state is not State.PENDING
    return {
        "state": state.value,
        "reason": "why not" if state in {State.REJECTED, State.FAILED} else None,
        "decided_by": OLGA.id if decided else None,
        "decided_email": OLGA.email if decided else None,
        "decided_at": BASE_TIME if decided else None,
        "initiated_at": BASE_TIME if state in BEGUN else None,
        "completed_at": BASE_TIME if state in DONE else None,
        "restored_until": until if state in DONE else None,
        "expired_at": until if state is State.EXPIRED else None,
    }


async def put_request(superuser: Database, company_id: str, part_id: str, key: str, state: State, **more: Any) -> str:
    """A request in that state. Returns its id."""
    row: dict[str, Any] = {"id": uuid4(), "company_id": UUID(company_id), "part_id": UUID(part_id), "archive_key": key, "size": 1 << 30}
    row |= {"tier": "STANDARD", "days": 7, "cost_usd": Decimal("0.015417"), "prices_as_of": date(2026, 1, 1)}
    row |= {"earliest_seconds": 3 * 3600, "latest_seconds": 5 * 3600}
    row |= {"requested_by": ANN.id, "requested_email": ANN.email, "requested_at": BASE_TIME} | columns(state) | more
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")  # or it would have to begin as PENDING
        await superuser.execute(f"INSERT INTO restore_request ({', '.join(row)}) VALUES ({places})", *row.values())
    return str(row["id"])


async def cold_part(case: Retiring, number: int = 1, **more: Any) -> tuple[str, str]:
    """A part that is cold: its id and its object's name."""
    part = await case.part(number, cold_after_days=180)
    key: str = await case.superuser.fetchval("SELECT key FROM archive_part WHERE id = $1", UUID(part))
    await case.superuser.execute("UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key WHERE id = $1", UUID(part))
    for name, value in more.items():
        await case.run(f"UPDATE archive_part SET {name} = $2 WHERE id = $1", UUID(part), value)
    return part, key


class Time(SystemClock):
    """It is what the test says."""

    def __init__(self, micros: int) -> None:
        self.now = micros

    def micros(self) -> int:
        return self.now


class WatchedGlacier(SimulatedGlacier):
    """A simulated one that counts what it is asked for, and can be made to refuse or to stop in the midst of it."""

    def __init__(self, settings: Settings, clock: Clock, *, seconds: float = 120) -> None:
        super().__init__(client(settings), settings.bucket(REGION), seconds=seconds, clock=clock)
        self.asked: list[str] = []
        self.refusal: Exception | None = None
        self.before: Callable[[], None] = lambda: None

    def restore(self, key: str, *, days: int, tier: Tier) -> None:
        self.before()
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(key)
        super().restore(key, days=days, tier=tier)
