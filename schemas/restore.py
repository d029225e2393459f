"""Restore requests: their states and who moves them, the tiers, and what a restoration is expected to cost and take (contract §3).

Pure rules. The database holds the same transitions in a trigger (migration 0010_restore); a test compares the two, pair by pair.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from schemas.topics import Region


class State(StrEnum):
    """How a request stands."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    INITIATING = "INITIATING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class Role(StrEnum):
    """Who moves a request on."""

    CUSTOMER = "CUSTOMER"
    OPERATOR = "OPERATOR"
    JOB = "JOB"


class Tier(StrEnum):
    """How fast S3 fetches an object out of Glacier. The names are a plan's (``schemas.plans.RESTORE_TIERS``)."""

    EXPEDITED = "EXPEDITED"
    STANDARD = "STANDARD"
    BULK = "BULK"


DEFAULT_TIER: Final = Tier.STANDARD
LEAST_DAYS, MOST_DAYS, DEFAULT_DAYS = 1, 30, 7
MOST_REASON: Final = 500
"""Characters of why a request was rejected or cancelled."""

# A part may reach the end of its retention at any time: until it was restored, its request fails with it.
TRANSITIONS: Final[Mapping[State, Mapping[State, frozenset[Role]]]] = MappingProxyType(
    {
        State.PENDING: {
            State.APPROVED: frozenset({Role.OPERATOR}),
            State.REJECTED: frozenset({Role.OPERATOR}),
            State.CANCELLED: frozenset({Role.CUSTOMER, Role.OPERATOR}),
            State.FAILED: frozenset({Role.JOB}),
        },
        State.APPROVED: {
            State.INITIATING: frozenset({Role.JOB}),
            State.CANCELLED: frozenset({Role.OPERATOR}),
            State.FAILED: frozenset({Role.JOB}),
        },
        State.INITIATING: dict.fromkeys((State.IN_PROGRESS, State.COMPLETED, State.FAILED), frozenset({Role.JOB})),
        State.IN_PROGRESS: dict.fromkeys((State.COMPLETED, State.FAILED), frozenset({Role.JOB})),
        State.COMPLETED: {State.EXPIRED: frozenset({Role.JOB})},
        State.EXPIRED: {},
        State.REJECTED: {},
        State.CANCELLED: {},
        State.FAILED: {},
    }
)
"""From each state to which ones, and who may do that."""
ACTIVE: Final = frozenset(state for state, further in TRANSITIONS.items() if further)
"""Those from which it goes on. A part has one active request at most."""


def may_move(role: Role, old: State, new: State) -> bool:
    """Whether that role takes a request from one state to the other."""
    return role in TRANSITIONS[old].get(new, frozenset())


def may_approve(requester: tuple[str, str | None], approver: tuple[str, str | None]) -> bool:
    """Two people, told apart by id and email: who asks does not decide, however he is spelt. Without an email, by the id alone."""
    if _folded(requester[0]) == _folded(approver[0]):
        return False
    return requester[1] is None or approver[1] is None or _folded(requester[1]) != _folded(approver[1])


def _folded(name: str) -> str:
    """As people take it to be the same: Unicode's compatible forms, in one case, without what can't be seen."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in plain if unicodedata.category(each) not in ("Cf", "Cc", "Zs", "Zl", "Zp"))


# --- what it costs and takes ---------------------------------------------------------------------


class Estimate(NamedTuple):
    """What a restoration is expected to cost, and to take. By list prices: no invoice."""

    cost_usd: str
    """Dollars, rounded up to six decimals."""
    prices_as_of: date
    earliest_seconds: int
    latest_seconds: int


class Price(NamedTuple):
    """Of S3 Glacier Flexible Retrieval, in US dollars."""

    gigabyte: str
    """Of 2^30 bytes that are retrieved."""
    thousand_requests: str


PRICES_AS_OF: Final = date(2025, 10, 28)
"""The day of the list prices below: without taxes, discounts and free tiers. Which are confirmed, ops/docs/restore.md says."""
_FREE: Final = Price("0", "0")
_PRICES: Final[Mapping[Region, Mapping[Tier, Price]]] = MappingProxyType(
    {
        Region.US: {Tier.EXPEDITED: Price("0.03", "10.00"), Tier.STANDARD: Price("0.01", "0.05"), Tier.BULK: _FREE},  # us-east-1
        Region.EU: {Tier.EXPEDITED: Price("0.033", "11.00"), Tier.STANDARD: Price("0.011", "0.055"), Tier.BULK: _FREE},  # eu-west-1
        Region.UK: {Tier.EXPEDITED: Price("0.0351", "11.70"), Tier.STANDARD: Price("0.0117", "0.0585"), Tier.BULK: _FREE},  # eu-west-2
        Region.AU: {Tier.EXPEDITED: Price("0.036", "12.00"), Tier.STANDARD: Price("0.012", "0.06"), Tier.BULK: _FREE},  # ap-southeast-2
    }
)
_STANDARD_GIGABYTE_MONTH: Final[Mapping[Region, str]] = MappingProxyType(
    {Region.US: "0.023", Region.EU: "0.023", Region.UK: "0.024", Region.AU: "0.025"}
)
"""Of the copy that can be read meanwhile, beside the archived object, which is paid for all along."""
_SECONDS: Final[Mapping[Tier, tuple[int, int]]] = MappingProxyType(
    {Tier.EXPEDITED: (60, 300), Tier.STANDARD: (3 * 3600, 5 * 3600), Tier.BULK: (5 * 3600, 12 * 3600)}
)
"""How long S3 says that it takes. Expedited: when there is capacity, and …"""
_MOST_EXPEDITED: Final = 250_000_000
"""… for objects up to that size; others may take as long as by STANDARD."""
_GIGABYTE: Final = 1 << 30
_MONTH_DAYS: Final = 30
_MICROS: Final = 10**6


def estimate(region: Region, tier: Tier, size_bytes: int, days: int) -> Estimate:
    """Of one object of that size, to be readable for so many days."""
    price, gigabytes = _PRICES[region][tier], Fraction(size_bytes, _GIGABYTE)
    cost = (
        gigabytes * Fraction(price.gigabyte)
        + Fraction(price.thousand_requests) / 1000
        + gigabytes * Fraction(_STANDARD_GIGABYTE_MONTH[region]) * days / _MONTH_DAYS
    )
    dollars, micros = divmod(-(-cost * _MICROS // 1), _MICROS)
    earliest, latest = _SECONDS[tier]
    if size_bytes > _MOST_EXPEDITED:
        latest = max(latest, _SECONDS[Tier.STANDARD][1])
    return Estimate(f"{dollars}.{micros:06d}", PRICES_AS_OF, earliest, latest)
