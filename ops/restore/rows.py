"""A restore request as it stands in the database, and as it is shown: the same to API and command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from ops.db import Row
from schemas.event import format_time
from schemas.restore import Estimate, State, Tier

CURRENCY = "USD"


class Person(NamedTuple):
    """Who asked, or decided."""

    id: str
    email: str | None

    def shown(self) -> dict[str, Any]:
        """The JSON object."""
        return {"id": self.id, "email": self.email}


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Times are in microseconds. ``decided_by`` decided last; ``reason`` is of rejecting, cancelling or failing."""

    id: str
    company_id: str
    part_id: str
    archive_key: str
    size: int
    tier: Tier
    days: int
    estimate: Estimate
    state: State
    reason: str | None
    requested_by: Person
    requested_at: int
    decided_by: Person | None
    decided_at: int | None
    initiated_at: int | None
    completed_at: int | None
    restored_until: int | None
    expired_at: int | None

    def initiating(self) -> RestoreRequest:
        """The same, about to be asked for."""
        return replace(self, state=State.INITIATING)

    def target(self) -> dict[str, Any]:
        """As an entry of the audit names it."""
        return {"id": self.id, "type": "restore-request"}

    def told(self) -> dict[str, Any]:
        """What each entry of the audit says of it."""
        return {"archiveId": self.part_id, "archiveKey": self.archive_key, "tier": self.tier.value, "days": self.days}

    def shown(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "companyId": self.company_id,
            "archiveId": self.part_id,
            "archiveKey": self.archive_key,
            "tier": self.tier.value,
            "days": self.days,
            "status": self.state.value,
            "reason": self.reason,
            "requestedBy": self.requested_by.shown(),
            "requestedAt": _time(self.requested_at),
            "decidedBy": None if self.decided_by is None else self.decided_by.shown(),
            "decidedAt": _time(self.decided_at),
            "sizeBytes": self.size,
            "estimate": {
                "costUsd": self.estimate.cost_usd,
                "currency": CURRENCY,
                "pricesAsOf": self.estimate.prices_as_of.isoformat(),
                "earliestSeconds": self.estimate.earliest_seconds,
                "latestSeconds": self.estimate.latest_seconds,
            },
            "initiatedAt": _time(self.initiated_at),
            "completedAt": _time(self.completed_at),
            "restoredUntil": _time(self.restored_until),
            "expiredAt": _time(self.expired_at),
        }


def to_request(row: Row) -> RestoreRequest:
    """The request of a row of ``restore_request``."""
    prices_as_of: date = row["prices_as_of"]
    return RestoreRequest(
        id=str(row["id"]),
        company_id=str(row["company_id"]),
        part_id=str(row["part_id"]),
        archive_key=row["archive_key"],
        size=row["size"],
        tier=Tier(row["tier"]),
        days=row["days"],
        estimate=Estimate(f"{row['cost_usd']:f}", prices_as_of, row["earliest_seconds"], row["latest_seconds"]),
        state=State(row["state"]),
        reason=row["reason"],
        requested_by=Person(row["requested_by"], row["requested_email"]),
        requested_at=row["requested_at"],
        decided_by=None if row["decided_by"] is None else Person(row["decided_by"], row["decided_email"]),
        decided_at=row["decided_at"],
        initiated_at=row["initiated_at"],
        completed_at=row["completed_at"],
        restored_until=row["restored_until"],
        expired_at=row["expired_at"],
    )


def _time(micros: int | None) -> str | None:
    return None if micros is None else format_time(micros)
