"""What a workspace may send: how often projects are looked up, and what holds while they can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ingest.rules import Rules
from ops.auth import Principal
from schemas.incoming import IncomingEvent, read
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.problems import PlanRestricted, Unavailable, ValidationFailed
from schemas.topics import Region
from tests.support.keys import COMPANY, WORKSPACE, FakeClock, per_minute

OWN, OTHER = "0190a000-0000-7000-8000-0000000000a1", "0190a000-0000-7000-8000-0000000000a2"


class FakeProjects:
    """A project table that can be away, and counts what it is asked."""

    def __init__(self) -> None:
        self.own = {OWN}
        self.error: Callable[[], Exception] | None = None
        self.asked: list[set[str]] = []

    async def projects(self, workspace_id: str, ids: Sequence[str]) -> set[str]:
        self.asked.append(set(ids))
        if self.error is not None:
            error = self.error()
            raise error
        return self.own & set(ids) if workspace_id == WORKSPACE else set()


class Case:
    """Rules over a table of one project."""

    def __init__(self) -> None:
        self.clock, self.table = FakeClock(), FakeProjects()
        self.rules = Rules({Region.EU: self.table}, self.clock)

    async def check(self, *events: IncomingEvent, limits: PlanLimits | None = None, workspace: str = WORKSPACE) -> None:
        caller = Principal("key-1", Region.EU, Scope.WORKSPACE, COMPANY, workspace, None, limits or per_minute())
        await self.rules.check(events, caller, batch=True)


def event(project: str | None = None, category: str = "user") -> IncomingEvent:
    fields: dict[str, Any] = {"category": category, "action": "user.login", "projectId": project}
    return read(fields, 0)


async def test_events_without_a_project_ask_nobody() -> None:
    case = Case()
    await case.check(event(), event(category="custom.thing"))
    assert case.table.asked == []


async def test_a_batch_asks_once_for_all_its_projects_and_a_known_one_is_not_asked_again() -> None:
    case = Case()
    case.table.own.add(OTHER)
    await case.check(event(OWN), event(OTHER), event(OWN), event())
    await case.check(event(OWN), event(OTHER))
    assert case.table.asked == [{OWN, OTHER}]


async def test_a_project_is_known_to_its_own_workspace_alone() -> None:
    case = Case()
    await case.check(event(OWN))
    with pytest.raises(ValidationFailed):
        await case.check(event(OWN), workspace=OTHER)


async def test_an_unknown_project_is_asked_for_again_after_some_seconds() -> None:
    """It may have been made in the meantime; till then a producer that repeats itself costs the database nothing."""
    case = Case()
    for _ in range(5):
        with pytest.raises(ValidationFailed) as raised:
            await case.check(event(OWN), event(OTHER))
        assert [(detail.index, detail.field) for detail in raised.value.details] == [(1, "projectId")]
    assert case.table.asked == [{OWN, OTHER}]
    case.table.own.add(OTHER)
    case.clock.now += 6
    await case.check(event(OTHER))


async def test_while_the_database_is_away_known_projects_pass_and_others_are_503() -> None:
    case = Case()
    await case.check(event(OWN))
    case.table.error = ConnectionRefusedError
    await case.check(event(OWN))
    with pytest.raises(Unavailable, match="Nothing was accepted"):
        await case.check(event(OTHER))
    case.table.error = None
    with pytest.raises(ValidationFailed):
        await case.check(event(OTHER))


async def test_a_fault_of_ours_is_not_taken_for_an_outage() -> None:
    case = Case()
    case.table.error = KeyError
    with pytest.raises(KeyError):
        await case.check(event(OWN))


async def test_what_is_remembered_of_projects_is_bounded() -> None:
    """Unknown ones can't push out those that are known."""
    case = Case()
    await case.check(event(OWN))
    for start in range(0, 12_000, 1000):
        with pytest.raises(ValidationFailed):
            await case.check(*(event(f"0190a000-0000-7000-8000-{number:012d}") for number in range(start, start + 1000)))
    asked = len(case.table.asked)
    with pytest.raises(ValidationFailed):
        await case.check(event("0190a000-0000-7000-8000-000000000000"))  # forgotten, and asked for again
    await case.check(event(OWN))
    assert len(case.table.asked) == asked + 1


async def test_custom_categories_need_a_plan_that_has_them() -> None:
    case = Case()
    with pytest.raises(PlanRestricted) as raised:
        await case.check(event(), event(category="custom.thing"), limits=per_minute(custom_categories=False))
    assert [(detail.index, detail.field) for detail in raised.value.details] == [(1, "category")]
