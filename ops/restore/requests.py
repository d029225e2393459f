"""What is done with restore requests. All of it happens in the caller's transaction, who writes its entry in the audit into the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

import orjson

from ops.archive.parts import is_readable
from ops.db import Connection, Row, load_queries
from ops.restore.rows import Person, RestoreRequest, to_request
from schemas.plans import PlanLimits
from schemas.problems import Conflict, Forbidden, NotFound, PlanRestricted, invalid
from schemas.restore import (
    DEFAULT_DAYS,
    DEFAULT_TIER,
    LEAST_DAYS,
    MOST_DAYS,
    MOST_REASON,
    Role,
    State,
    Tier,
    estimate,
    may_approve,
    may_move,
)
from schemas.topics import Region

_ABOVE_ALL = UUID(int=2**128 - 1)
_WORDS: Mapping[State, str] = {State.APPROVED: "approved", State.REJECTED: "rejected", State.CANCELLED: "cancelled"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants restored, how fast, and for how many days."""

    part_id: str
    tier: Tier = DEFAULT_TIER
    days: int = DEFAULT_DAYS


async def request(
    connection: Connection, wish: Wish, *, region: Region, company_id: str, by: Person, now: int, request_id: str
) -> RestoreRequest:
    """A new request, in the company's own transaction. ``now`` is in microseconds, ``request_id`` a UUID of version 7.

    Raises ``ValidationFailed`` for days that are too few or too many, and for an archive that is not the company's; ``PlanRestricted``
    for a tier that its plan does not have; ``Conflict`` where there is nothing to restore, or that is asked for already.
    """
    if not LEAST_DAYS <= wish.days <= MOST_DAYS:
        raise invalid("days", f"must be a whole number from {LEAST_DAYS} to {MOST_DAYS}")
    part = await _sought(connection, company_id, wish.part_id, now)
    if wish.tier not in PlanLimits.parse(orjson.loads(part["limits"])).restore_tiers:
        raise PlanRestricted(f"The company's plan does not restore archives with tier {wish.tier}.")
    if part["is_expiring"]:
        raise Conflict("The archive is past its retention and is being removed.")
    await _check_inactive(connection, company_id, wish.part_id)
    if is_readable(now, is_cold=part["is_cold_archived"], restored_until=part["restored_until"]):
        raise Conflict("The archive is not cold: it can be read as it is.")
    expected = estimate(region, wish.tier, part["size"], wish.days)
    inserted = await connection.fetchval(
        _sql()["insert"],
        *(request_id, company_id, wish.part_id, part["key"], part["size"], wish.tier.value, wish.days),
        *(Decimal(expected.cost_usd), expected.prices_as_of, expected.earliest_seconds, expected.latest_seconds),
        *(by.id, by.email, now),
    )
    if inserted is None:  # by somebody who was faster
        await _check_inactive(connection, company_id, wish.part_id)
        raise Conflict("There was a restore request for this archive just now: try again.")
    return await get(connection, request_id, company_id=company_id)


async def get(connection: Connection, request_id: str, *, company_id: str | None) -> RestoreRequest:
    """One request, of that company or (``None``, for operators) of any. Raises ``NotFound``."""
    try:
        row = await connection.fetchrow(_sql()["get"], UUID(request_id), company_id)
    except ValueError:
        row = None
    if row is None:
        raise NotFound
    return to_request(row)


async def page(
    connection: Connection, *, company_id: str | None, state: State | None = None, before: bytes | None = None, limit: int
) -> Sequence[RestoreRequest]:
    """Up to ``limit`` requests, the newest first, from in front of an id (16 bytes); of a company, or (``None``, for operators) of all."""
    edge, wanted = _ABOVE_ALL if before is None else UUID(bytes=before), None if state is None else state.value
    if company_id is None:
        rows = await connection.fetch(_sql()["page"], edge, wanted, limit)
    else:
        rows = await connection.fetch(_sql()["page_of_company"], company_id, edge, wanted, limit)
    return [to_request(row) for row in rows]


async def approve(connection: Connection, request_id: str, *, by: Person, now: int) -> RestoreRequest:
    """An operator lets it be done. Raises ``NotFound``, ``Forbidden`` for who asked himself, ``Conflict`` when it is past that."""
    found = await get(connection, request_id, company_id=None)
    if not may_approve(found.requested_by, by):
        raise Forbidden("Who asked for a restoration may not approve it.")
    if found.state is State.PENDING:
        await _check_terms(connection, found)
    return await _decide(connection, found, State.APPROVED, Role.OPERATOR, None, by, now)


async def reject(connection: Connection, request_id: str, *, reason: str, by: Person, now: int) -> RestoreRequest:
    """An operator refuses it. Raises ``NotFound``, ``ValidationFailed`` without a reason, ``Conflict`` when it is past that."""
    found = await get(connection, request_id, company_id=None)
    return await _decide(connection, found, State.REJECTED, Role.OPERATOR, _checked(reason), by, now)


async def cancel(
    connection: Connection, request_id: str, *, company_id: str | None, reason: str | None = None, by: Person, now: int
) -> RestoreRequest:
    """Take it back: a company its own, as long as nobody decided; an operator (``company_id`` is ``None``) any, until it is begun.

    Raises ``NotFound``, ``ValidationFailed`` for a bad reason, ``Conflict`` when it is past that.
    """
    found = await get(connection, request_id, company_id=company_id)
    role = Role.OPERATOR if company_id is None else Role.CUSTOMER
    return await _decide(connection, found, State.CANCELLED, role, None if reason is None else _checked(reason), by, now)


async def _sought(connection: Connection, company_id: str, part_id: str, now: int) -> Row:
    try:
        row = await connection.fetchrow(_sql()["sought"], company_id, UUID(part_id), now)
    except ValueError:
        row = None
    if row is None:
        raise invalid("archiveId", "names no archive of the company")
    return row


async def _check_terms(connection: Connection, found: RestoreRequest) -> None:
    """Raise where it could not be asked for now: plans change, and parts expire, while a request waits."""
    ((limits, is_expiring),) = await connection.fetch(_sql()["terms"], found.company_id, found.part_id)
    if found.tier not in PlanLimits.parse(orjson.loads(limits)).restore_tiers:
        raise PlanRestricted(f"The company's plan does not restore archives with tier {found.tier} any more.")
    if is_expiring:
        raise Conflict("The archive is past its retention and is being removed.")


async def _check_inactive(connection: Connection, company_id: str, part_id: str) -> None:
    active = await connection.fetchrow(_sql()["active"], company_id, part_id)
    if active is not None:
        raise Conflict(f"There is a restore request for this archive already: {active['id']} is {active['state']}.")


async def _decide(
    connection: Connection, found: RestoreRequest, new: State, role: Role, reason: str | None, by: Person, now: int
) -> RestoreRequest:
    """Compare and set: of two who decide at once, the second one hears what the first one did."""
    if not may_move(role, found.state, new):
        raise Conflict(f"The request is {found.state} and can't be {_WORDS[new]}.")
    row = await connection.fetchrow(
        _sql()["decide"], found.id, found.company_id, found.state.value, new.value, reason, by.id, by.email, now
    )
    if row is None:
        now_is = (await get(connection, found.id, company_id=found.company_id)).state
        raise Conflict(f"The request is {now_is} by now and can't be {_WORDS[new]}.")
    return to_request(row)


def _checked(reason: str) -> str:
    if not reason.strip() or len(reason) > MOST_REASON or "\0" in reason:
        raise invalid("reason", f"must be text of 1 to {MOST_REASON} characters")
    return reason


@lru_cache
def _sql() -> Mapping[str, str]:
    return load_queries("ops.restore")
