"""The operator's work on tenants of all regions: reading in the role hyrelog_dashboard, changing by the registry that commands use too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import orjson
import psycopg

from api.attempt import Attempt
from api.cursor import Position
from api.store import Busy, Store, in_turn
from ops.db import Connection, Row, load_queries
from ops.rows import to_stored
from ops.settings import Settings
from ops.tenancy.registry import Acting, Refused, Registry, open_registry
from schemas.event import StoredEvent
from schemas.plans import PLANS
from schemas.problems import Conflict, NotFound, Unavailable
from schemas.topics import Region

ROLE = "hyrelog_dashboard"
_CHANGES_AT_A_TIME = 2
"""In a region, each with a thread and a connection of its own: they are rare."""
_READS_AT_A_TIME = 2
"""In a region: what operators look at must leave connections to customers."""
_WAIT_FOR_OPERATORS = "Too much is done by operators at a time: try again."
Found = TypeVar("Found")
Result = TypeVar("Result")


class Answers(NamedTuple, Generic[Found]):
    """What the regions that answered have, and those that did not."""

    found: list[Found]
    away: list[Region]


class Company(NamedTuple):
    """A customer as a list shows it; ``overrides`` are JSON, ``created_at`` is in microseconds."""

    id: str
    region: Region
    name: str
    plan: str
    overrides: str
    created_at: int


class CompanyFilter(NamedTuple):
    """Which companies are wanted."""

    search: str | None
    plan: str | None


class AuditFilter(NamedTuple):
    """Which entries of the audit are wanted. Times are microseconds; an ``action`` may end with ``.*``."""

    company_id: str | None
    start: int
    end: int
    action: str | None
    outcome: str | None
    actor_id: str | None
    actor_email: str | None
    target_id: str | None


class Operator:
    """What the operator's routes do, in the databases of all regions."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._changes = {region: asyncio.Semaphore(_CHANGES_AT_A_TIME) for region in store.regions}
        self._reads = {region: asyncio.Semaphore(_READS_AT_A_TIME) for region in store.regions}
        self._sql = load_queries("api.dashboard.admin")

    async def companies(self, regions: Sequence[Region], wanted: CompanyFilter, before: UUID, limit: int) -> Answers[Company]:
        """Up to ``limit`` customers of those regions together, the newest first, from in front of an id."""
        pattern = None if wanted.search is None else f"%{_escaped(wanted.search.lower())}%"

        async def of(region: Region, connection: Connection) -> list[Company]:
            rows = await connection.fetch(self._sql["companies"], before, pattern, wanted.search, wanted.plan, limit)
            return [Company(str(row["id"]), region, row["name"], row["plan"], row["overrides"], row["created_at"]) for row in rows]

        answers = await self.ask(regions, "companies", of)
        return answers._replace(found=sorted(answers.found, key=lambda company: company.id, reverse=True)[:limit])

    async def plans(self) -> list[tuple[str, dict[str, Any]]]:
        """Each plan's name and limits, the smallest first, as the first region knows them that answers."""

        async def of(_region: Region, connection: Connection) -> list[Row]:
            return await connection.fetch(self._sql["plans"])

        rows = (await self.ask(self._store.regions, "plans", of)).found
        plans = {row["name"]: orjson.loads(row["limits"]) for row in reversed(rows)}
        return [(name, plans[name]) for name in PLANS]

    async def audit_logs(self, regions: Sequence[Region], wanted: AuditFilter, before: Position, limit: int) -> Answers[StoredEvent]:
        """Up to ``limit`` entries of those regions together, the newest first, from in front of a place."""
        action = None if wanted.action is None else _escaped(wanted.action.removesuffix("*")) + ("%" if wanted.action.endswith("*") else "")
        filters = (wanted.start, wanted.end, action, wanted.outcome, wanted.actor_id, wanted.actor_email, wanted.target_id)

        async def of(region: Region, connection: Connection) -> list[StoredEvent]:
            asked = (before.time, UUID(bytes=before.tie), *filters, limit)
            if wanted.company_id is None:
                rows = await connection.fetch(self._sql["audit_logs"], *asked)
            else:
                rows = await connection.fetch(self._sql["audit_logs_of_company"], *asked, wanted.company_id)
            return [to_stored(row, region) for row in rows]

        answers = await self.ask(regions, "audit_logs", of)
        return answers._replace(found=sorted(answers.found, key=lambda entry: (entry.timestamp, entry.id), reverse=True)[:limit])

    async def ask(
        self, regions: Sequence[Region], query: str, of: Callable[[Region, Connection], Awaitable[list[Found]]]
    ) -> Answers[Found]:
        """Ask every region at once, each in a transaction of its own. Raises ``Unavailable`` when none answers, or when one that does takes
        too long over it: that is the question's fault, and no region is away.
        """

        async def one(region: Region) -> list[Found]:
            async with in_turn(self._reads[region], _WAIT_FOR_OPERATORS), self._store.operating(region, ROLE, query) as connection:
                return await of(region, connection)

        answers = await asyncio.gather(*map(one, regions), return_exceptions=True)
        found: Answers[Found] = Answers([], [])
        for region, answer in zip(regions, answers, strict=True):
            if isinstance(answer, list):
                found.found.extend(answer)
            elif isinstance(answer, Unavailable) and not isinstance(answer, Busy):
                found.away.append(region)
            else:
                raise answer
        if len(found.away) == len(regions):
            raise Unavailable(f"No region answers: {', '.join(regions)}.")
        return found

    async def find(self, regions: Sequence[Region], query: str, of: Callable[[Region, Connection], Awaitable[list[Found]]]) -> Found:
        """The one that a region has. Raises ``NotFound``, and ``Unavailable`` while a region that may have it is away."""
        answers = await self.ask(regions, query, of)
        if not answers.found and answers.away:
            raise Unavailable(f"It is in none of the regions that answer; {', '.join(answers.away)} can't be asked now.")
        if not answers.found:
            raise NotFound
        return answers.found[0]

    async def change(self, attempt: Attempt, region: Region, work: Callable[[Registry], Result]) -> Result:
        """Change tenants of a region in one transaction with the entry of the audit, which names the attempt's actor.

        Raises ``Conflict`` for what the registry refuses, ``Unavailable``, and what ``work`` raises.
        """
        seconds = self._settings.statement_timeout_seconds
        acting = Acting(attempt.actor, attempt.trace_id, attempt.context, ROLE, seconds)

        def carry_out() -> Result:
            with open_registry(self._settings, region, acting=acting) as registry:
                return work(registry)

        async with in_turn(self._changes[region], _WAIT_FOR_OPERATORS):
            try:
                return await asyncio.to_thread(carry_out)
            except Refused as error:
                raise Conflict(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
            except psycopg.OperationalError as error:
                raise Unavailable(f"{region} can't be reached now: what was asked for may have been done.") from error


def _escaped(text: str) -> str:
    """The text as LIKE finds it and nothing else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
