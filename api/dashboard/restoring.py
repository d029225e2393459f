"""Restore requests over HTTP: each change with its entry of the audit in one transaction."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from api.attempt import Attempt
from api.dashboard.admin.operator import ROLE, Answers, Operator
from api.management import Management
from api.store import Store
from ops.auth import Principal, User
from ops.db import Connection, Row, load_queries
from ops.restore import requests
from ops.restore.requests import Wish
from ops.restore.rows import Person, RestoreRequest
from schemas import ids
from schemas.problems import NotFound
from schemas.restore import State
from schemas.topics import Region

Decision = Callable[..., Awaitable[RestoreRequest]]
"""One of ``ops.restore.requests``: takes connection and id, and ``by`` and ``now`` by name."""


class Restores:
    """What a company's people ask for, and what the operator's decide."""

    def __init__(self, store: Store, management: Management, operator: Operator) -> None:
        self._store = store
        self._management = management
        self._operator = operator
        self._sql = load_queries("api.dashboard")

    async def archives(self, caller: Principal, before: bytes | None, limit: int) -> Sequence[Row]:
        """Up to ``limit`` archives of the company, the newest first, from in front of an id."""
        async with self._store.reading_for(caller, "archives") as connection:
            return await connection.fetch(self._sql["archives"], caller.company_id, _edge(before), limit)

    async def page(self, caller: Principal, state: State | None, before: bytes | None, limit: int) -> Sequence[RestoreRequest]:
        """Up to ``limit`` requests of the company, the newest first."""
        async with self._store.reading_for(caller, "restore_requests") as connection:
            return await requests.page(connection, company_id=caller.company_id, state=state, before=before, limit=limit)

    async def get(self, caller: Principal, request_id: str) -> RestoreRequest:
        """One of the company's. Raises ``NotFound``."""
        async with self._store.reading_for(caller, "restore_request") as connection:
            return await requests.get(connection, request_id, company_id=caller.company_id)

    async def create(self, attempt: Attempt, caller: Principal, user: User, wish: Wish) -> RestoreRequest:
        """A new request. Raises as ``requests.request``."""
        now = self._management.now()
        new_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        async with self._store.acting(caller.region, caller.company_id, "create_restore_request") as connection:
            made = await requests.request(
                connection, wish, region=caller.region, company_id=caller.company_id, by=_person(user), now=now, request_id=new_id
            )
            told = made.told() | {"estimatedCostUsd": made.estimate.cost_usd}
            await self._management.write(connection, attempt, attempt.done(made.target(), told))
        return made

    async def take_back(self, attempt: Attempt, caller: Principal, user: User, request_id: str) -> RestoreRequest:
        """Cancel one of the company's that nobody has decided. Raises ``NotFound``, ``Conflict``."""
        async with self._store.acting(caller.region, caller.company_id, "cancel_restore_request") as connection:
            cancelled = await requests.cancel(
                connection, request_id, company_id=caller.company_id, by=_person(user), now=self._management.now()
            )
            await self._management.write(connection, attempt, attempt.done(cancelled.target(), cancelled.told()))
        return cancelled

    async def of_regions(
        self, regions: Sequence[Region], company_id: str | None, state: State | None, before: bytes | None, limit: int
    ) -> Answers[RestoreRequest]:
        """Up to ``limit`` requests of those regions together, of all companies or of one, the newest first."""

        async def of(_region: Region, connection: Connection) -> list[RestoreRequest]:
            return list(await requests.page(connection, company_id=company_id, state=state, before=before, limit=limit))

        answers = await self._operator.ask(regions, "restore_requests", of)
        return answers._replace(found=sorted(answers.found, key=lambda each: each.id, reverse=True)[:limit])

    async def find(self, request_id: str) -> tuple[Region, RestoreRequest]:
        """One of any company, and its region. Raises ``NotFound``, and ``Unavailable`` while a region that may have it is away."""

        async def of(region: Region, connection: Connection) -> list[tuple[Region, RestoreRequest]]:
            try:
                return [(region, await requests.get(connection, request_id, company_id=None))]
            except NotFound:
                return []

        return await self._operator.find(self._store.regions, "restore_request", of)

    async def decide(self, attempt: Attempt, user: User, request_id: str, decision: Decision, told: dict[str, Any]) -> RestoreRequest:
        """Carry out an operator's decision, in the region and with the audit of the attempt's company."""
        async with self._store.operating(attempt.region, ROLE, "decide_restore_request") as connection:
            decided = await decision(connection, request_id, by=_person(user), now=self._management.now())
            await self._management.write(connection, attempt, attempt.done(decided.target(), decided.told() | told))
        return decided


def _person(user: User) -> Person:
    return Person(user.id, user.email)


def _edge(before: bytes | None) -> UUID:
    return UUID(int=2**128 - 1) if before is None else UUID(bytes=before)
