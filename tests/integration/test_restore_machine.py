"""Whatever people and jobs do in whatever order, and wherever they die: a request goes legal ways alone, and its part is readable exactly
while it is restored.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ops.archive.parts import is_readable
from ops.db import open_pool, tenant_transaction
from ops.faults import FaultPoints
from ops.jobs.restore import checker, expiration, initiator
from ops.local.environment import Role
from ops.objects import Cold
from ops.restore import requests
from ops.restore.requests import Wish
from ops.restore.rows import RestoreRequest
from schemas import ids
from schemas.problems import Conflict
from schemas.restore import ACTIVE, TRANSITIONS, State
from schemas.retention import DAY_MICROS
from tests.support.chains import BASE_TIME
from tests.support.restoring import ANN, OLGA, Time, WatchedGlacier, cold_part
from tests.support.retiring import REGION, Kill, Killed, retiring
from tests.support.stack import LocalStack

JOBS = {"initiator": initiator.run, "checker": checker.run, "expiration": expiration.run}
POINTS = ("restore_before_commit", "restore_claimed", "restore_asked", "restore_looked", "restore_recorded")
DECISIONS = ("approve", "reject", "cancel", "take_back")


class Restoring(RuleBasedStateMachine):
    """One cold part, and all that may happen to it."""

    servers: LocalStack

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.exits = AsyncExitStack()
        self.seen: dict[str, State] = {}

    @initialize()
    def begin(self) -> None:
        self.runner.run(self._begin())

    @rule(days=st.integers(1, 30))
    def ask(self, days: int) -> None:
        with suppress(Conflict):
            self.runner.run(self._ask(days))

    @rule(what=st.sampled_from(DECISIONS))
    def decide(self, what: str) -> None:
        with suppress(Conflict):
            self.runner.run(self._decide(what))

    @rule(job=st.sampled_from(sorted(JOBS)), point=st.none() | st.sampled_from(POINTS), workers=st.integers(1, 2))
    def work(self, job: str, point: str | None, workers: int) -> None:
        self.runner.run(self._work(job, None if point is None else Kill(point), workers))

    @rule(days=st.sampled_from((0.001, 0.01, 1, 7, 30)))
    def wait(self, days: float) -> None:
        self.time.now += round(days * DAY_MICROS)

    @rule(times=st.integers(1, 4))
    def go_on(self, times: int) -> None:
        """What usually comes next: left to chance alone, hardly anything would ever be restored."""
        for _ in range(times):
            state = self.seen[max(self.seen)] if self.seen else State.FAILED
            if state not in ACTIVE:
                self.ask(3)
            elif state is State.PENDING:
                self.decide("approve")
            elif state in {State.APPROVED, State.INITIATING}:
                self.work("initiator", None, 1)
            else:
                self.wait(0.002 if state is State.IN_PROGRESS else 1)
                self.work("checker", None, 1)
            self.goes_legal_ways()

    @invariant()
    def goes_legal_ways(self) -> None:
        """Between two looks it may have gone several steps of one: a run of the initiator takes up to two."""
        if not hasattr(self, "case"):
            return
        rows = self.runner.run(self._rows())
        for request, state in rows.items():
            assert state in _reachable(self.seen.get(request, State.PENDING)), (self.seen.get(request), state)
        assert sum(state in ACTIVE for state in rows.values()) <= 1
        self.seen = rows

    @invariant()
    def is_readable_while_it_is_restored(self) -> None:
        """What the database says of the part never promises more than the store holds."""
        if hasattr(self, "case") and self.runner.run(self._is_readable()):
            assert State.COMPLETED in self.seen.values()
            try:
                self.glacier.get(self.key)
            except Cold as error:
                raise AssertionError("it should be readable") from error

    @invariant()
    def is_asked_for_once_a_request(self) -> None:
        if hasattr(self, "case"):
            asked = {State.IN_PROGRESS, State.COMPLETED, State.EXPIRED, State.FAILED, State.INITIATING}
            assert len(self.glacier.asked) <= sum(state in asked for state in self.seen.values())

    def teardown(self) -> None:
        self.runner.run(self.exits.aclose())
        self.runner.close()

    async def _begin(self) -> None:
        case = await self.exits.enter_async_context(retiring(self.servers))
        self.time = Time(BASE_TIME + 200 * DAY_MICROS)
        self.glacier = case.objects = WatchedGlacier(self.servers.settings(Role.SCHEDULER), self.time)
        url = self.servers.settings(Role.API).database_url(REGION)
        self.api = await self.exits.enter_async_context(await open_pool(url, application_name="test", region=REGION, max_size=1))
        self.part, self.key = await cold_part(case)
        self.case = case

    async def _ask(self, days: int) -> None:
        new_id, company = ids.uuid7(self.time.now, os.urandom(ids.RANDOM_BYTES)), self.case.company_id
        async with self.api.acquire() as connection, tenant_transaction(connection, company):
            await requests.request(
                connection, Wish(self.part, days=days), region=REGION, company_id=company, by=ANN, now=self.time.now, request_id=new_id
            )

    async def _decide(self, what: str) -> RestoreRequest | None:
        if not self.seen:
            return None
        request, now = max(self.seen), self.time.now
        if what == "take_back":
            async with self.api.acquire() as connection, tenant_transaction(connection, self.case.company_id):
                return await requests.cancel(connection, request, company_id=self.case.company_id, by=ANN, now=now)
        async with self.api.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL ROLE hyrelog_dashboard")
            if what == "approve":
                return await requests.approve(connection, request, by=OLGA, now=now)
            if what == "reject":
                return await requests.reject(connection, request, reason="no", by=OLGA, now=now)
            return await requests.cancel(connection, request, company_id=None, by=OLGA, now=now)

    async def _work(self, job: str, faults: FaultPoints | None, workers: int) -> None:
        runs = [_survived(JOBS[job](self.case.work(self.time.now, faults=faults))) for _ in range(workers)]
        await asyncio.gather(*runs)

    async def _rows(self) -> dict[str, State]:
        rows = await self.case.superuser.fetch("SELECT id, state FROM restore_request WHERE part_id = $1", UUID(self.part))
        return {str(row["id"]): State(row["state"]) for row in rows}

    async def _is_readable(self) -> bool:
        row = await self.case.row("SELECT is_cold_archived, restored_until FROM archive_part WHERE id = $1", UUID(self.part))
        return is_readable(self.time.now, is_cold=row["is_cold_archived"], restored_until=row["restored_until"])


async def _survived(run: Any) -> None:
    with suppress(Killed):
        await run


def _reachable(state: State) -> set[State]:
    """Where legal steps lead to, however many."""
    found = {state}
    for further in TRANSITIONS[state]:
        found |= _reachable(further)
    return found


def test_no_order_of_things_leads_astray(servers: LocalStack) -> None:
    Restoring.servers = servers
    checks = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a shorter way to the same failure would take minutes to find
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Restoring, settings=checks)
