"""What a workspace may send, beyond what makes an event valid: its own projects, and the categories of its company's plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from ops.auth import Principal
from ops.clock import Clock
from ops.db import is_unavailable
from schemas.incoming import IncomingEvent
from schemas.plans import STANDARD_CATEGORIES
from schemas.problems import Detail, PlanRestricted, Problem, Unavailable, ValidationFailed
from schemas.topics import Region

_MAX_DETAILS = 20
_KNOWN = 100_000
_UNKNOWN = 10_000
# Projects are never moved or deleted; a new one may be asked for before it is there.
_UNKNOWN_SECONDS = 5.0
_NO_PROJECT = "is not a project of this workspace"
_CUSTOM = "the company's plan takes the standard categories only"

_Project = tuple[str, str]
_Value = TypeVar("_Value")


class ProjectTable(Protocol):
    """Where projects are looked up: one region's Postgres, or a fake."""

    async def projects(self, company_id: str, workspace_id: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are projects of the company's workspace."""
        ...


class Rules:
    """Judges events of good keys. Projects that were found once stay known; those that were not, for some seconds."""

    def __init__(self, tables: Mapping[Region, ProjectTable], clock: Clock) -> None:
        self._tables = tables
        self._monotonic = clock.monotonic
        self._known: dict[_Project, None] = {}
        self._unknown: dict[_Project, float] = {}

    def unjudged(self, events: Sequence[IncomingEvent], caller: Principal) -> set[str]:
        """The projects that the events name and that have to be looked up (``learn``) before they can be checked."""
        workspace, now = caller.workspace_id or "", self._monotonic()
        named = {event.project_id for event in events if event.project_id is not None}
        return {
            project for project in named if (workspace, project) not in self._known and now >= self._unknown.get((workspace, project), 0.0)
        }

    async def learn(self, projects: set[str], caller: Principal) -> None:
        """Look projects up. Raises ``Unavailable`` when that can't be done now."""
        workspace, asked = caller.workspace_id or "", list(projects)
        try:
            found = await self._tables[caller.region].projects(caller.company_id, workspace, asked)
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise Unavailable("Nothing was accepted: the project can't be looked up now") from None
        until = self._monotonic() + _UNKNOWN_SECONDS
        for project in asked:
            if project in found:
                _remember(self._known, (workspace, project), None, _KNOWN)
            else:
                _remember(self._unknown, (workspace, project), until, _UNKNOWN)

    def check(self, events: Sequence[IncomingEvent], caller: Principal, *, batch: bool) -> None:
        """Raises ``PlanRestricted``, or a 400 that names ``projectId``. Every project must be judged."""
        if not caller.limits.custom_categories:
            _check_categories(events, batch=batch)
        workspace = caller.workspace_id or ""
        wrong = (event.project_id is not None and (workspace, event.project_id) not in self._known for event in events)
        _refuse_those(ValidationFailed, "projectId", _NO_PROJECT, wrong, batch=batch)


def _check_categories(events: Sequence[IncomingEvent], *, batch: bool) -> None:
    _refuse_those(PlanRestricted, "category", _CUSTOM, (event.category not in STANDARD_CATEGORIES for event in events), batch=batch)


def _refuse_those(problem: type[Problem], field: str, message: str, wrong: Iterable[bool], *, batch: bool) -> None:
    """Raise the problem with a detail for each event that is wrong, if one is."""
    details = tuple(Detail(message, field, index if batch else None) for index, each in enumerate(wrong) if each)
    if details:
        raise problem(details=details[:_MAX_DETAILS])


def _remember(cache: dict[_Project, _Value], project: _Project, value: _Value, limit: int) -> None:
    """Over the limit, the oldest goes."""
    cache[project] = value
    if len(cache) > limit:
        del cache[next(iter(cache))]
