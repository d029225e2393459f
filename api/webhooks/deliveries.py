"""What was, is being and will be sent to an endpoint, the newest event's first. A list is read by short walks along its index; of what
a walk meets, only what is asked for is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from api.answers import time
from api.cursor import Position
from api.finder import PLANNING
from api.store import Store
from ops.auth import Principal
from ops.db import Connection, Row, load_queries
from schemas import ids
from schemas.problems import NotFound
from schemas.webhooks import Kind, State, delivery_id

MOST_WALKED = 5000
"""Deliveries that a page is looked for among; one that is not full by then is told as it is, and where to go on."""
_WALKS: Final[Mapping[State | None, str]] = MappingProxyType(
    {
        None: "walk_all",
        State.PENDING: "walk_due",
        State.SENDING: "walk_due",
        State.RETRYING: "walk_due",
        State.SUCCEEDED: "walk_tried",
        State.FAILED: "walk_failed",
    }
)
_TIME_BITS = 80
"""Bits of a version 7 UUID below its time."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries. Times are of the events' receipt, in microseconds of which the milliseconds count; the end is exclusive."""

    state: State | None
    event_id: str | None
    start: int
    end: int

    def edges(self) -> tuple[UUID, UUID]:
        """The ids that the list lies between: above all of it, and its least."""
        return _least(self.end), _least(self.start)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event, or a test, on its way to an endpoint. ``attempts`` are rows of webhook_attempt, the oldest first."""

    id: str
    event_id: str | None
    seq: int | None
    kind: Kind
    state: State
    next_attempt_at: int | None
    attempts: Sequence[Row]

    def shown(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "eventId": self.event_id,
            "seq": self.seq,
            "kind": self.kind,
            "state": self.state,
            "attempts": [_attempt(each) for each in self.attempts],
            "nextAttemptAt": time(self.next_attempt_at),
        }


class Page(NamedTuple):
    """Deliveries, and behind which place there may be more."""

    deliveries: Sequence[Delivery]
    more: Position | None


class Deliveries:
    """The deliveries of a company's endpoints, deleted ones too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sql = load_queries("api.webhooks", "deliveries.sql")

    async def page(self, caller: Principal, webhook_id: str, wanted: DeliveryFilter, after: Position | None, limit: int) -> Page:
        """Up to ``limit`` deliveries behind ``after``. Raises ``NotFound``."""
        async with self._store.reading_for(caller, "deliveries", PLANNING) as connection:
            look = _Look(connection, self._sql, (webhook_id, caller.company_id))
            if not await look.has_endpoint():
                raise NotFound
            above, least = wanted.edges()
            if wanted.event_id is not None:
                above, least = await look.around(wanted.event_id, above, least)
            start = above if after is None else min(above, UUID(bytes=after.tie))
            found, more = await look.walk(wanted.state, start, least, limit)
            return Page(await look.at(found), more)


class _Look:
    """A look at one endpoint's deliveries, in one transaction. ``whose`` is its id and its company's."""

    def __init__(self, connection: Connection, sql: Mapping[str, str], whose: tuple[str, str]) -> None:
        self._connection = connection
        self._sql = sql
        self._whose = whose

    async def has_endpoint(self) -> bool:
        found: bool = await self._connection.fetchval(self._sql["is_webhook"], *self._whose)
        return found

    async def around(self, event_id: str, above: UUID, least: UUID) -> tuple[UUID, UUID]:
        """The edges of the list of an event's one delivery, if that lies within those."""
        webhook_id, company_id = self._whose
        row = await self._connection.fetchrow(self._sql["receipt_of_event"], event_id, company_id)
        # An event that is not in the database any more: its id was made when it was received.
        event, received_at = (event_id, ids.received_at(event_id)) if row is None else (str(row["id"]), row["received_at"])
        found = UUID(delivery_id(webhook_id, event, received_at))
        return min(above, UUID(int=found.int + 1)), max(least, found)

    async def walk(self, state: State | None, start: UUID, least: UUID, limit: int) -> tuple[list[UUID], Position | None]:
        """Up to ``limit`` deliveries in that state, and where to go on if the list may do so."""
        found: list[UUID] = []
        place, step, walked = start, limit + 1, 0
        while walked < MOST_WALKED:
            rows = await self._connection.fetch(self._sql[_WALKS[state]], *self._whose, place, least, step)
            found += [row["id"] for row in rows if state is None or row["state"] == state]
            if len(found) > limit:
                return found[:limit], _position(found[limit - 1])
            if len(rows) < step:
                return found, None
            place, walked, step = rows[-1]["id"], walked + step, min(4 * step, MOST_WALKED // 4)
        return found, _position(place)

    async def at(self, deliveries: Sequence[UUID]) -> list[Delivery]:
        """Those deliveries as they stand now."""
        rows = await self._connection.fetch(self._sql["deliveries"], *self._whose, deliveries)
        grouped = (list(group) for _, group in groupby(rows, key=lambda row: row["id"]))
        # One whose last attempt was dropped meanwhile has no state any more.
        return [_delivery(group) for group in grouped if group[0]["due_kind"] or group[0]["kind"]]


def _delivery(rows: Sequence[Row]) -> Delivery:
    """A delivery of its rows, at least one, of the named query ``deliveries``."""
    last = rows[-1]
    is_due = last["due_kind"] is not None
    prefix = "due_" if is_due else ""
    event_id = last[f"{prefix}event_id"]
    return Delivery(
        id=str(last["id"]),
        event_id=None if event_id is None else str(event_id),
        seq=last[f"{prefix}seq"],
        kind=Kind(last[f"{prefix}kind"]),
        state=_due_state(last) if is_due else State(last["state"]),
        next_attempt_at=last["due_at"] if is_due and not last["claimed"] else None,
        attempts=[row for row in rows if row["kind"] is not None],
    )


def _due_state(row: Row) -> State:
    if row["claimed"]:
        return State.SENDING
    return State.RETRYING if row["next_attempt"] > 1 else State.PENDING


def _attempt(row: Row) -> dict[str, Any]:
    body_hash = row["body_hash"]
    return {
        "attempt": row["attempt"],
        "kind": row["kind"],
        "attemptedAt": time(row["attempted_at"]),
        "durationMs": row["duration_ms"],
        "responseStatus": row["response_status"],
        "error": row["error"],
        "bodyHash": None if body_hash is None else body_hash.hex(),
        "nextAttemptAt": time(row["next_attempt_at"]),
    }


def _least(micros: int) -> UUID:
    """The least id of a time's millisecond."""
    return UUID(int=max(0, micros // 1000) << _TIME_BITS)


def _position(delivery: UUID) -> Position:
    return Position(0, delivery.bytes)
