"""What a plan allows (contract §3): its limits with a company's overrides over them, checked and typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeGuard, get_args

PlanName = Literal["FREE", "STARTER", "GROWTH", "ENTERPRISE"]
PLANS: tuple[PlanName, ...] = get_args(PlanName)

_CATEGORIES = """
access account admin api auth billing compliance config data deployment export file integration network notification
organization payment permission policy project security session settings system team user workflow
"""
STANDARD_CATEGORIES = frozenset(_CATEGORIES.split())
EXPORT_SOURCES = ("HOT", "ARCHIVED", "HOT_AND_ARCHIVED")
RESTORE_TIERS = ("EXPEDITED", "STANDARD", "BULK")
# PostgreSQL's integer; more than that many rows, days or requests is no limit, and is written as null.
_MOST = 2**31 - 1
MOST_DAYS = 36_500
"""A hundred years. What is kept for longer has an end that calendars do not reach; for ever is null, where there is such a thing."""


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """A company's limits. ``None``: unlimited for rows, requests and events; for retention, none or never."""

    hot_days: int
    archive_days: int | None
    cold_after_days: int | None
    export_rows: int | None
    export_sources: tuple[str, ...]
    webhooks: int
    custom_categories: bool
    restore_tiers: tuple[str, ...]
    requests_per_minute: int | None
    events_per_minute: int | None

    @classmethod
    def parse(cls, members: Mapping[str, Any]) -> Self:
        """From a JSON object that has all of ``MEMBERS``; others are a newer version's, and ignored.

        Raises ``ValueError`` naming the first member that is missing or out of its range.
        """
        return cls(*(_checked(name, members) for name in MEMBERS))


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` naming the first member that no plan has, or whose value none could have."""
    for name in overrides:
        value = _checked(name, overrides)
        if name.endswith("Days") and value is not None and value > MOST_DAYS:
            raise ValueError(f"{name}: must be at most {MOST_DAYS:,} days")


def _checked(name: str, members: Mapping[str, Any]) -> Any:
    if name not in MEMBERS:
        raise ValueError(f"{name}: no plan has such a member; there are {', '.join(MEMBERS)}")
    if name not in members:
        raise ValueError(f"{name}: missing")
    is_valid, expected = MEMBERS[name]
    value = members[name]
    if not is_valid(value):
        raise ValueError(f"{name}: must be {expected}")
    return tuple(value) if isinstance(value, list) else value


def _is_count(value: object, least: int = 0) -> TypeGuard[int]:
    return type(value) is int and least <= value <= _MOST


def _is_days(value: object) -> bool:
    return _is_count(value, 1)


def _is_limit(value: object) -> bool:
    return value is None or _is_count(value, 1)


def _subset_of(names: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(name in names for name in value) and len(set(value)) == len(value)


_LIMIT = (_is_limit, "a whole number above 0, or null")

MEMBERS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "hotDays": (_is_days, "a whole number of days above 0"),
    "archiveDays": _LIMIT,
    "coldAfterDays": _LIMIT,
    "exportRows": _LIMIT,
    "exportSources": (_subset_of(EXPORT_SOURCES), f"a list of {', '.join(EXPORT_SOURCES)}"),
    "webhooks": (_is_count, "a whole number"),
    "customCategories": (lambda value: isinstance(value, bool), "true or false"),
    "restoreTiers": (_subset_of(RESTORE_TIERS), f"a list of {', '.join(RESTORE_TIERS)}"),
    "requestsPerMinute": _LIMIT,
    "eventsPerMinute": _LIMIT,
}
"""The members of ``plan.limits`` and ``company.overrides``, in the order of ``PlanLimits``: what each may be, and that in words."""
