"""Projects are looked up once, remembered within bounds, and never guessed while Postgres is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ingest import rules
from ingest.rules import Rules
from ops.auth import Principal
from schemas.incoming import IncomingEvent, read
from schemas.keys import Scope
from schemas.problems import PlanRestricted, Unavailable, ValidationFailed
from schemas.topics import Region
from tests.support.keys import COMPANY, NO_LIMITS, WORKSPACE, FakeClock

OWN, NEW, FOREIGN = (f"0190a000-0000-7000-8000-00000000000{digit}" for digit in "123")
CALLER = Principal("key-1", Region.EU, Scope.WORKSPACE, COMPANY, WORKSPACE, None, NO_LIMITS)


class FakeTable:
    """A workspace's projects; counts look-ups, and can be away."""

    def __init__(self) -> None:
        self.known = {OWN}
        self.asked: list[set[str]] = []
        self.away = False

    async def projects(self, company_id: str, workspace_id: str, ids: Sequence[str]) -> set[str]:
        if self.away:
            raise ConnectionRefusedError
        self.asked.append(set(ids))
        return self.known.intersection(ids) if (company_id, workspace_id) == (COMPANY, WORKSPACE) else set()


class Case:
    """Rules over a fake table."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = FakeTable()
        self.rules = Rules({Region.EU: self.table}, self.clock)

    async def check(self, *projects: str | None, caller: Principal = CALLER) -> list[int | None]:
        """The indexes of the events that are refused for their project."""
        try:
            events = [event(project) for project in projects]
            if unjudged := self.rules.unjudged(events, caller):
                await self.rules.learn(unjudged, caller)
            self.rules.check(events, caller, batch=True)
        except ValidationFailed as problem:
            return [detail.index for detail in problem.details if detail.field == "projectId"]
        return []


def event(project: str | None = None, category: str = "auth") -> IncomingEvent:
    return read({"category": category, "action": "a", "projectId": project}, 0)


async def test_a_batch_is_one_look_up_and_a_known_project_none() -> None:
    case = Case()
    assert await case.check(OWN, None, FOREIGN, OWN, FOREIGN) == [2, 4]
    assert await case.check(OWN) == []
    assert case.table.asked == [{OWN, FOREIGN}]


async def test_an_unknown_project_is_asked_for_once_in_five_seconds() -> None:
    case = Case()
    for _ in range(3):
        assert await case.check(NEW) == [0]
    case.table.known.add(NEW)
    case.clock.now += 5
    assert await case.check(NEW) == []
    assert case.table.asked == [{NEW}] * 2


async def test_a_project_known_in_one_workspace_is_not_known_in_another() -> None:
    case = Case()
    await case.check(OWN)
    assert await case.check(OWN, caller=replace(CALLER, workspace_id=FOREIGN)) == [0]


async def test_while_postgres_is_away_known_projects_pass_and_others_are_503() -> None:
    case = Case()
    await case.check(OWN)
    case.table.away = True
    assert await case.check(OWN, None) == []
    with pytest.raises(Unavailable, match="Nothing was accepted"):
        await case.check(OWN, NEW)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_UNKNOWN", 2)
    case = Case()
    for project in (NEW, FOREIGN, WORKSPACE, NEW):
        await case.check(project)
    assert case.table.asked == [{NEW}, {FOREIGN}, {WORKSPACE}, {NEW}]


async def test_standard_categories_are_for_all_and_others_for_some() -> None:
    case = Case()
    free = replace(CALLER, limits=replace(NO_LIMITS, custom_categories=False))
    case.rules.check([event(category="billing")], free, batch=False)
    case.rules.check([event(category="custom")], CALLER, batch=False)
    with pytest.raises(PlanRestricted) as caught:
        case.rules.check([event(category="custom")], free, batch=False)
    assert [(detail.field, detail.index) for detail in caught.value.details] == [("category", None)]
