"""Limits are what the database says, or refused by the name of what is wrong in them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from schemas.plans import MEMBERS, STANDARD_CATEGORIES, PlanLimits, check_overrides

FREE: dict[str, Any] = {
    "hotDays": 7,
    "archiveDays": None,
    "coldAfterDays": None,
    "exportRows": 10_000,
    "exportSources": ["HOT"],
    "webhooks": 0,
    "customCategories": False,
    "restoreTiers": [],
    "requestsPerMinute": 1200,
    "eventsPerMinute": 60_000,
}


def test_each_member_becomes_the_field_of_its_name() -> None:
    expected = PlanLimits(
        hot_days=7,
        archive_days=None,
        cold_after_days=None,
        export_rows=10_000,
        export_sources=("HOT",),
        webhooks=0,
        custom_categories=False,
        restore_tiers=(),
        requests_per_minute=1200,
        events_per_minute=60_000,
    )
    assert PlanLimits.parse(FREE) == expected
    snake = ["".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name) for name in MEMBERS]
    assert [field.name for field in fields(PlanLimits)] == snake


def test_members_of_a_newer_version_are_ignored() -> None:
    """While a deployment rolls, old processes read what new ones wrote."""
    assert PlanLimits.parse({**FREE, "tomorrow": 1}) == PlanLimits.parse(FREE)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: missing$"):
        PlanLimits.parse({key: value for key, value in FREE.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hotDays", 0),
        ("hotDays", None),
        ("archiveDays", "180"),
        ("exportRows", 2**31),
        ("exportSources", ["COLD"]),
        ("exportSources", "HOT"),
        ("exportSources", ["HOT", "HOT"]),
        ("exportSources", [["HOT"]]),
        ("webhooks", -1),
        ("webhooks", True),
        ("webhooks", 1.0),
        ("customCategories", 1),
        ("restoreTiers", None),
        ("requestsPerMinute", 0),
        ("eventsPerMinute", "many"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(name: str, value: object) -> None:
    for attempt in (lambda: PlanLimits.parse({**FREE, name: value}), lambda: check_overrides({name: value})):
        with pytest.raises(ValueError, match=f"^{name}: must be "):
            attempt()


def test_an_override_may_replace_some_members_and_none_that_no_plan_has() -> None:
    check_overrides({})
    check_overrides({"requestsPerMinute": None, "webhooks": 5})
    with pytest.raises(ValueError, match=r"^requestPerMinute: no plan has such a member"):
        check_overrides({"requestPerMinute": 5})


def test_the_standard_categories_are_those_of_the_contract() -> None:
    assert len(STANDARD_CATEGORIES) == 27
    assert {"access", "workflow"} <= STANDARD_CATEGORIES
