"""What the database itself lets a restore request do: the rules of schemas/restore.py, whoever tries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg.exceptions import CheckViolationError, InsufficientPrivilegeError, ObjectNotInPrerequisiteStateError, UniqueViolationError

from ops.db import Pool, open_pool, tenant_transaction
from ops.local.environment import Role
from schemas.restore import ACTIVE, TRANSITIONS, State
from tests.support.restoring import ANN, cold_part, columns, put_request
from tests.support.retiring import REGION, Retiring, retiring
from tests.support.stack import LocalStack


@pytest.fixture
async def case(servers: LocalStack) -> AsyncIterator[Retiring]:
    async with retiring(servers) as found:
        yield found


@pytest.fixture
async def api(servers: LocalStack) -> AsyncIterator[Pool]:
    """In the API's role."""
    url = servers.settings(Role.API).database_url(REGION)
    async with await open_pool(url, application_name="test-restore", region=REGION, max_size=2) as pool:
        yield pool


async def tried(case: Retiring, request: str, row: dict[str, Any]) -> bool:
    """Whether the database takes it; undone again."""
    names = ", ".join(f"{name} = ${place}" for place, name in enumerate(row, start=2))
    transaction = case.superuser.transaction()
    await transaction.start()
    try:
        await case.superuser.execute(f"UPDATE restore_request SET {names} WHERE id = $1", UUID(request), *row.values())
    except (ObjectNotInPrerequisiteStateError, CheckViolationError):
        return False
    finally:
        await transaction.rollback()
    return True


async def test_the_database_knows_the_very_same_transitions(case: Retiring) -> None:
    """A superuser tries each one, with all that a row of the new state has to have."""
    possible = set()
    for number, old in enumerate(State, start=1):
        request = await put_request(case.superuser, case.company_id, *await cold_part(case, number), old)
        possible |= {(old, new) for new in State if new is not old and await tried(case, request, columns(new))}
    assert possible == {(old, new) for old, new in product(State, State) if new in TRANSITIONS[old]}


async def test_a_request_begins_at_the_beginning(case: Retiring) -> None:
    request = await put_request(case.superuser, case.company_id, *await cold_part(case), State.REJECTED)
    with pytest.raises(ObjectNotInPrerequisiteStateError, match="begins as PENDING"):
        await _copied(case, request)


async def _copied(case: Retiring, request: str) -> None:
    row = {**await case.row("SELECT * FROM restore_request WHERE id = $1", UUID(request)), "id": uuid4()}
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    await case.superuser.execute(f"INSERT INTO restore_request ({', '.join(row)}) VALUES ({places})", *row.values())


@pytest.mark.parametrize("state", State)
async def test_a_part_has_one_active_request(case: Retiring, state: State) -> None:
    part = await cold_part(case)
    await put_request(case.superuser, case.company_id, *part, state)
    if state not in ACTIVE:
        await put_request(case.superuser, case.company_id, *part, State.PENDING)
        return
    with pytest.raises(UniqueViolationError):
        await put_request(case.superuser, case.company_id, *part, State.PENDING)


@pytest.mark.parametrize(
    ("state", "missing"),
    [
        (State.APPROVED, {"decided_at": None, "decided_by": None, "decided_email": None}),
        (State.APPROVED, {"decided_by": ANN.id}),
        (State.COMPLETED, {"decided_by": ANN.id}),
        (State.REJECTED, {"reason": None}),
        (State.REJECTED, {"reason": ""}),
        (State.FAILED, {"reason": None}),
        (State.PENDING, {"reason": "too early"}),
        (State.INITIATING, {"initiated_at": None}),
        (State.COMPLETED, {"restored_until": None}),
        (State.EXPIRED, {"expired_at": None}),
        (State.PENDING, {"days": 31}),
        (State.PENDING, {"days": 0}),
        (State.PENDING, {"tier": "FAST"}),
    ],
)
async def test_what_can_not_be_is_no_row(case: Retiring, state: State, missing: dict[str, Any]) -> None:
    part = await cold_part(case)
    with pytest.raises(CheckViolationError):
        await put_request(case.superuser, case.company_id, *part, state, **missing)


async def test_a_part_of_another_company_can_not_be_asked_for(case: Retiring, servers: LocalStack, api: Pool) -> None:
    part, key = await cold_part(case)
    other = str(servers.tenant(REGION).id)
    async with api.acquire() as connection:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with tenant_transaction(connection, other):
                await connection.execute(
                    "INSERT INTO restore_request (id, company_id, part_id, archive_key, size, tier, days, cost_usd, prices_as_of, "
                    "earliest_seconds, latest_seconds, requested_by, requested_at) "
                    "VALUES (gen_random_uuid(), $1, $2, $3, 1, 'BULK', 1, 0, '2026-01-01', 1, 1, 'x', now())",
                    *(other, part, key),
                )


@pytest.mark.parametrize(
    "change",
    [
        "state = 'APPROVED', decided_by = 'olga', decided_at = now()",
        "state = 'REJECTED', reason = 'no', decided_by = 'olga', decided_at = now()",
        "tier = 'EXPEDITED'",
        "days = 30",
        "requested_by = 'somebody else'",
        "initiated_at = now()",
    ],
)
async def test_the_api_in_a_companys_name_can_not_decide(case: Retiring, api: Pool, change: str) -> None:
    """Whatever it is told to: rights and policies let it ask and take back."""
    await put_request(case.superuser, case.company_id, *await cold_part(case), State.PENDING)
    async with api.acquire() as connection:
        with pytest.raises(InsufficientPrivilegeError):
            async with tenant_transaction(connection, case.company_id):
                await connection.execute(f"UPDATE restore_request SET {change}")


@pytest.mark.parametrize("state", sorted(ACTIVE - {State.PENDING}))
async def test_nor_cancel_what_is_decided(case: Retiring, api: Pool, state: State) -> None:
    await put_request(case.superuser, case.company_id, *await cold_part(case), state)
    change = "UPDATE restore_request SET state = 'CANCELLED', decided_by = 'ann', decided_at = now()"
    async with api.acquire() as connection, tenant_transaction(connection, case.company_id):
        assert await connection.execute(change) == "UPDATE 0"


async def test_a_workspace_sees_no_requests(case: Retiring, api: Pool) -> None:
    await put_request(case.superuser, case.company_id, *await cold_part(case), State.PENDING)
    seen = []
    for workspace in (None, case.workspaces[0]):
        async with api.acquire() as connection, tenant_transaction(connection, case.company_id, workspace, readonly=True):
            seen.append(await connection.fetchval("SELECT count(*) FROM restore_request"))
    assert seen == [1, 0]
