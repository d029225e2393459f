"""Asking for cold archives and deciding on it, in the roles that do so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from ops.db import Connection, Pool, open_pool, tenant_transaction
from ops.local.environment import Role
from ops.restore import requests
from ops.restore.requests import Wish
from ops.restore.rows import Person, RestoreRequest
from schemas import ids
from schemas.event import format_time
from schemas.problems import Conflict, Forbidden, NotFound, PlanRestricted, Problem, ValidationFailed
from schemas.restore import ACTIVE, State, Tier, estimate
from schemas.retention import DAY_MICROS
from tests.support.chains import BASE_TIME
from tests.support.restoring import ANN, OLGA, cold_part, put_request
from tests.support.retiring import REGION, Retiring, retiring
from tests.support.stack import LocalStack

NOW = BASE_TIME + 200 * DAY_MICROS


@dataclass
class Desk:
    """A company that asks, and an operator who decides."""

    case: Retiring
    pool: Pool

    @asynccontextmanager
    async def company(self, company_id: str | None = None) -> AsyncIterator[Connection]:
        """In the name of the company."""
        async with self.pool.acquire() as connection, tenant_transaction(connection, company_id or self.case.company_id):
            yield connection

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Connection]:
        """As the operator's routes."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL ROLE hyrelog_dashboard")
            yield connection

    async def ask(self, wish: Wish, *, by: Person = ANN, now: int = NOW, company_id: str | None = None) -> RestoreRequest:
        company = company_id or self.case.company_id
        new_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        async with self.company(company) as connection:
            return await requests.request(connection, wish, region=REGION, company_id=company, by=by, now=now, request_id=new_id)

    async def approve(self, request: str, *, by: Person = OLGA) -> RestoreRequest:
        async with self.operator() as connection:
            return await requests.approve(connection, request, by=by, now=NOW)

    async def reject(self, request: str, reason: str = "too dear") -> RestoreRequest:
        async with self.operator() as connection:
            return await requests.reject(connection, request, reason=reason, by=OLGA, now=NOW)

    async def take_back(self, request: str, company_id: str | None = None) -> RestoreRequest:
        company = company_id or self.case.company_id
        async with self.company(company) as connection:
            return await requests.cancel(connection, request, company_id=company, by=ANN, now=NOW)

    async def cancel(self, request: str) -> RestoreRequest:
        async with self.operator() as connection:
            return await requests.cancel(connection, request, company_id=None, reason="a mistake", by=OLGA, now=NOW)


@pytest.fixture
async def desk(servers: LocalStack) -> AsyncIterator[Desk]:
    url = servers.settings(Role.API).database_url(REGION)
    async with retiring(servers) as case, await open_pool(url, application_name="test-restore", region=REGION, max_size=2) as pool:
        yield Desk(case, pool)


async def problem(act: Awaitable[object], kind: type[Problem]) -> str:
    """What is wrong, in words."""
    with pytest.raises(kind) as caught:
        await act
    return caught.value.details[0].message if caught.value.details else caught.value.sentence


async def test_a_request_is_shown_with_what_it_is_expected_to_cost(desk: Desk) -> None:
    part, key = await cold_part(desk.case)
    size = (await desk.case.row("SELECT size FROM archive_part WHERE id = $1", UUID(part)))["size"]
    made = await desk.ask(Wish(part))
    expected = estimate(REGION, Tier.STANDARD, size, 7)
    assert made.shown() == {
        "id": made.id,
        "companyId": desk.case.company_id,
        "archiveId": part,
        "archiveKey": key,
        "tier": "STANDARD",
        "days": 7,
        "status": "PENDING",
        "reason": None,
        "requestedBy": {"id": "ann", "email": "ann@customer.example"},
        "requestedAt": format_time(NOW),
        "decidedBy": None,
        "decidedAt": None,
        "sizeBytes": size,
        "estimate": {
            "costUsd": expected.cost_usd,
            "currency": "USD",
            "pricesAsOf": expected.prices_as_of.isoformat(),
            "earliestSeconds": 10800,
            "latestSeconds": 18000,
        },
        "initiatedAt": None,
        "completedAt": None,
        "restoredUntil": None,
        "expiredAt": None,
    }


async def test_an_unknown_archive_and_another_companys_are_one_answer(desk: Desk, servers: LocalStack) -> None:
    part, _key = await cold_part(desk.case)
    other = str(servers.tenant(REGION).id)
    answers = {
        await problem(desk.ask(Wish(str(uuid4()))), ValidationFailed),
        await problem(desk.ask(Wish("no id")), ValidationFailed),
        await problem(desk.ask(Wish(part), company_id=other), ValidationFailed),
    }
    assert answers == {"names no archive of the company"}


@pytest.mark.parametrize("days", [0, 31, -1])
async def test_days_have_bounds(desk: Desk, days: int) -> None:
    part, _key = await cold_part(desk.case)
    assert await problem(desk.ask(Wish(part, days=days)), ValidationFailed) == "must be a whole number from 1 to 30"


async def test_tiers_are_the_plans(desk: Desk) -> None:
    """Under GROWTH; an override is a company's plan too."""
    part, _key = await cold_part(desk.case)
    await problem(desk.ask(Wish(part, Tier.EXPEDITED)), PlanRestricted)
    await desk.case.run(
        """UPDATE company SET overrides = overrides || '{"restoreTiers": ["EXPEDITED"]}' WHERE id = $1""", UUID(desk.case.company_id)
    )
    await problem(desk.ask(Wish(part, Tier.STANDARD)), PlanRestricted)
    assert (await desk.ask(Wish(part, Tier.EXPEDITED))).state is State.PENDING


async def test_what_can_be_read_is_not_restored(desk: Desk) -> None:
    warm = await desk.case.part(1)
    assert "is not cold" in await problem(desk.ask(Wish(warm)), Conflict)
    restored, _key = await cold_part(desk.case, 2, restored_until=NOW + 1)
    assert "is not cold" in await problem(desk.ask(Wish(restored)), Conflict)
    over, _key = await cold_part(desk.case, 3, restored_until=NOW)
    assert (await desk.ask(Wish(over))).state is State.PENDING


async def test_what_is_being_removed_is_not_restored(desk: Desk) -> None:
    part, _key = await cold_part(desk.case, expiring_at=NOW)
    assert "past its retention" in await problem(desk.ask(Wish(part)), Conflict)


@pytest.mark.parametrize("state", sorted(ACTIVE))
async def test_an_archive_is_asked_for_once_at_a_time(desk: Desk, state: State) -> None:
    part, key = await cold_part(desk.case)
    first = await put_request(desk.case.superuser, desk.case.company_id, part, key, state)
    assert f"{first} is {state}" in await problem(desk.ask(Wish(part)), Conflict)


async def test_of_two_who_ask_at_once_one_is_refused(desk: Desk) -> None:
    part, _key = await cold_part(desk.case)
    made = await asyncio.gather(desk.ask(Wish(part)), desk.ask(Wish(part)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["Conflict", "RestoreRequest"]


async def test_somebody_else_approves(desk: Desk) -> None:
    part, _key = await cold_part(desk.case)
    made = await desk.ask(Wish(part))
    assert "may not approve" in await problem(desk.approve(made.id, by=Person("ann", "another@address.example")), Forbidden)
    approved = await desk.approve(made.id)
    assert (approved.state, approved.decided_by, approved.decided_at) == (State.APPROVED, OLGA, NOW)


async def test_a_rejection_has_a_reason(desk: Desk) -> None:
    part, _key = await cold_part(desk.case)
    made = await desk.ask(Wish(part))
    for reason in ("", "  ", "x" * 501, "a\0b"):
        await problem(desk.reject(made.id, reason), ValidationFailed)
    rejected = await desk.reject(made.id)
    assert (rejected.state, rejected.reason) == (State.REJECTED, "too dear")
    assert (await desk.ask(Wish(part))).state is State.PENDING


@pytest.mark.parametrize("state", State)
async def test_each_may_do_what_the_state_allows(desk: Desk, state: State) -> None:
    part, key = await cold_part(desk.case)
    request = await put_request(desk.case.superuser, desk.case.company_id, part, key, state)
    allowed = {State.PENDING: ("approve", "reject", "cancel", "take_back"), State.APPROVED: ("cancel",)}.get(state, ())
    for name in ("approve", "reject", "cancel", "take_back"):
        if name not in allowed:
            sentence = await problem(getattr(desk, name)(request), Conflict)
            assert sentence.startswith(f"The request is {state} and can't be ")
    if allowed:
        cancelled = await getattr(desk, allowed[-1])(request)
        assert (cancelled.state, cancelled.reason) == (State.CANCELLED, "a mistake" if state is State.APPROVED else None)


async def test_of_two_who_decide_at_once_the_second_hears_of_the_first(desk: Desk) -> None:
    part, _key = await cold_part(desk.case)
    made = await desk.ask(Wish(part))
    decided = await asyncio.gather(desk.approve(made.id), desk.reject(made.id), return_exceptions=True)
    assert sorted(type(each).__name__ for each in decided) == ["Conflict", "RestoreRequest"]


async def test_another_companys_request_is_not_there(desk: Desk, servers: LocalStack) -> None:
    part, _key = await cold_part(desk.case)
    made, other = await desk.ask(Wish(part)), str(servers.tenant(REGION).id)
    await problem(desk.take_back(made.id, other), NotFound)
    for unknown in (str(uuid4()), "no id"):
        await problem(desk.approve(unknown), NotFound)
    async with desk.company(other) as connection:
        await problem(requests.get(connection, made.id, company_id=other), NotFound)
        assert await requests.page(connection, company_id=other, limit=10) == []


async def test_pages_are_newest_first_and_filtered(desk: Desk) -> None:
    made = [await desk.ask(Wish((await cold_part(desk.case, number))[0]), now=NOW + number * 1000) for number in range(1, 5)]
    newest = [each.id for each in reversed(made)]
    await desk.approve(made[1].id)
    async with desk.company() as connection:
        first = await requests.page(connection, company_id=desk.case.company_id, limit=3)
        rest = await requests.page(connection, company_id=desk.case.company_id, before=UUID(first[-1].id).bytes, limit=3)
    async with desk.operator() as connection:
        everyones = await requests.page(connection, company_id=None, limit=10)
        approved = await requests.page(connection, company_id=None, state=State.APPROVED, limit=10)
        companys = await requests.page(connection, company_id=desk.case.company_id, state=State.PENDING, limit=10)
    assert [each.id for each in (*first, *rest)] == newest
    assert [each.id for each in everyones] == newest
    assert [each.id for each in approved] == [made[1].id]
    assert [each.id for each in companys] == [made[3].id, made[2].id, made[0].id]


async def test_an_operator_decides_from_the_command_line_too(desk: Desk, servers: LocalStack) -> None:
    """In the role of its commands, which has no email."""
    part, _key = await cold_part(desk.case)
    made, operator = await desk.ask(Wish(part)), Person("root", None)
    url = servers.settings(Role.ADMIN).database_url(REGION)
    pool = await open_pool(url, application_name="test-restore", region=REGION, max_size=1)
    async with pool, pool.acquire() as connection, connection.transaction():
        approved = await requests.approve(connection, made.id, by=operator, now=NOW)
        cancelled = await requests.cancel(connection, made.id, company_id=None, by=operator, now=NOW)
    assert (approved.state, cancelled.state) == (State.APPROVED, State.CANCELLED)
    assert cancelled.shown()["decidedBy"] == {"id": "root", "email": None}
