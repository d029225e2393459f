"""The walls between tenants hold when a query forgets whose it is, and whatever happens to a connection that tenants share."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from api.asked import EventFilter
from api.finder import Finder
from api.store import Store
from ingest.store import Store as IngestStore
from ops.auth import Principal
from ops.db import Pool, Timeouts, open_pool, tenant_transaction
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.seed import Tenant
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.tokens import field_token
from schemas.topics import Region
from tests.support import searching
from tests.support.chains import Chain, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
ALL_TIME = EventFilter(None, 0, 2**52, descending=True)
EVENTS = 5
REQUESTS = 1000
AT_ONCE = 8
# A column that says whose a row is, for every table of tenants that the API reads.
OWNERS = {
    "company": "id",
    "workspace": "company_id",
    "project": "company_id",
    "api_key": "company_id",
    "api_key_use": "company_id",
    "management_use": "company_id",
    "chain_head": "company_id",
    "events": "company_id",
    "event_key": "company_id",
    "event_alias": "company_id",
    "rejected": "company_id",
    "webhook": "company_id",
    "webhook_due": "company_id",
    "webhook_attempt": "company_id",
    "webhook_replay": "company_id",
    "export_job": "company_id",
    "export_scope": "company_id",
    "company_retention": "company_id",
    "company_data_key": "company_id",
    "archive_part": "company_id",
    "archive_range": "company_id",
    "chain_floor": "company_id",
}


@dataclass(frozen=True)
class Side:
    """A company with events in two workspaces, and as whom it calls."""

    tenant: Tenant
    events: frozenset[str]

    @property
    def company(self) -> str:
        return str(self.tenant.id)

    @property
    def caller(self) -> Principal:
        return Principal("k", Region.US, Scope.COMPANY, self.company, None, None, LIMITS)


@pytest.fixture
async def sides(servers: LocalStack, superuser: Database) -> tuple[Side, Side]:
    return await _side(servers, superuser), await _side(servers, superuser)


async def _side(servers: LocalStack, superuser: Database) -> Side:
    """A company that has rows in every table."""
    tenant = servers.tenant(workspaces=2)
    stored: list[str] = []
    for workspace in tenant.workspaces:
        chain = Chain(str(tenant.id), str(workspace.id))
        events = chain.events(EVENTS)
        await store(superuser, chain, events)
        await searching.index(superuser, events)
        await searching.name(superuser, events[0], "key-1")
        await searching.alias(superuser, events[0], str(uuid4()))
        stored += [event.id for event in events]
    keys = [row["id"] for row in await superuser.fetch("SELECT id FROM api_key WHERE company_id = $1", tenant.id)]
    await superuser.execute("SELECT note_key_use($1, $2)", keys, [0] * len(keys))
    await superuser.execute("INSERT INTO management_use VALUES ($1, now(), 1)", tenant.id)
    await superuser.execute(
        "INSERT INTO rejected (source_partition, source_offset, source_index, id, company_id, workspace_id, reason, detail, rejected_at, "
        "original) SELECT 0, $1, 0, uuidv7(), w.company_id, w.id, 'X', '', now(), '' FROM workspace w WHERE w.id = $2",
        chain.first_offset,
        tenant.workspaces[0].id,
    )
    await _webhook(superuser, tenant)
    await _exports(superuser, tenant)
    await _archived(superuser, tenant)
    return Side(tenant, frozenset(stored))


async def _webhook(superuser: Database, tenant: Tenant) -> None:
    """An endpoint, a delivery that is due to it, an attempt, and a replay."""
    place = (uuid4(), tenant.id, tenant.workspaces[0].id)
    await superuser.execute("SELECT webhook_days(30)")
    for table, columns, values in (
        ("webhook", "id, company_id, workspace_id, url, events, from_seq, secret", "$1, $2, $3, 'https://example.org/', '{X}', 1, ''"),
        ("webhook_due", "webhook_id, company_id, workspace_id, id, kind, due_at", "$1, $2, $3, uuidv7(), 'TEST', now()"),
        (
            "webhook_attempt",
            "webhook_id, company_id, workspace_id, delivery_id, kind, attempt, attempted_at, state",
            "$1, $2, $3, uuidv7(), 'TEST', 1, now(), 'SUCCEEDED'",
        ),
        ("webhook_replay", "webhook_id, company_id, workspace_id, id, from_seq, to_seq", "$1, $2, $3, uuidv7(), 1, 1"),
    ):
        await superuser.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})", *place)


async def _exports(superuser: Database, tenant: Tenant) -> None:
    """An export of each workspace's, and one of the company's, with a run of events each."""
    for workspace in (*tenant.workspaces, None):
        export = uuid4()
        await superuser.execute(
            "INSERT INTO export_job (id, company_id, workspace_id, source, format, filters, csv_raw, verification, created_at) "
            "VALUES ($1, $2, $3, 'HOT', 'JSONL', '{}', false, true, now())",
            export, tenant.id, None if workspace is None else workspace.id,
        )  # fmt: skip
        await superuser.execute(
            "INSERT INTO export_scope VALUES ($1, $2, $3, 1, $4)", export, tenant.id, (workspace or tenant.workspaces[0]).id, EVENTS
        )


async def _archived(superuser: Database, tenant: Tenant) -> None:
    """A data key, and in each workspace an archived and purged event."""
    await superuser.execute("INSERT INTO company_data_key VALUES ($1, '')", tenant.id)
    part: UUID = await superuser.fetchval(
        "INSERT INTO archive_part (id, company_id, archive_day, part, row_count, archive_until, marked_at) "
        "VALUES (uuidv7(), $1, '2026-01-01', 1, 2, now(), now()) RETURNING id",
        tenant.id,
    )
    for workspace in tenant.workspaces:
        await superuser.execute(
            "INSERT INTO archive_range (workspace_id, from_seq, to_seq, company_id, part_id, archive_day, first_prev_hash, first_hash, "
            "last_hash, hot_until, marked_at) VALUES ($1, 1, 1, $2, $3, '2026-01-01', $4, $4, $4, now(), now())",
            *(workspace.id, tenant.id, part, bytes(32)),
        )
        await superuser.execute("INSERT INTO chain_floor VALUES ($1, $2, 1, $3, '2026-01-01', now())", workspace.id, tenant.id, bytes(32))


@pytest.fixture
async def pool(servers: LocalStack) -> AsyncIterator[Pool]:
    """The API's pool, of one connection: nothing is reset between requests but what they end themselves."""
    url = servers.settings(Role.API).database_url(Region.US)
    timeouts = Timeouts(statement=5.0)
    opened = await open_pool(url, application_name="walls", region=Region.US, max_size=1, timeouts=timeouts)
    yield opened
    opened.terminate()


class Traffic:
    """Requests of two tenants over one connection, and what each of them saw. ``fates`` counts how they ended."""

    def __init__(self, pool: Pool, sides: tuple[Side, Side], seed: int) -> None:
        self._pool = pool
        self._sides = sides
        self._store = Store({Region.US: pool}, Metrics(CollectorRegistry()))
        self._finder = Finder(self._store)
        self._random = random.Random(seed)
        self._places = asyncio.Semaphore(AT_ONCE)
        self.fates: Counter[str] = Counter()
        self.pids: Counter[int] = Counter()

    async def run(self) -> None:
        kinds = (self.read, self.read_one, self.forgetful, self.wrong, self.cut_at_work, self.cut_anywhere, self.nobody)
        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS):
                group.create_task(self._one(self._random.choice(kinds), self._random.choice(self._sides)))

    async def _one(self, kind: Callable[[Side], Coroutine[Any, Any, str]], side: Side) -> None:
        async with self._places:
            self.fates[await kind(side)] += 1

    async def read(self, side: Side) -> str:
        found = (await self._finder.events(side.caller, ALL_TIME, None, 100)).events
        assert {event.id for event, _ in found} == side.events
        return "read"

    async def read_one(self, side: Side) -> str:
        """Its own event is there, the other side's is not."""
        own, other = side.events, next(each for each in self._sides if each is not side).events
        assert await self._store.event(side.caller, min(own)) is not None
        assert await self._store.event(side.caller, min(other)) is None
        return "read"

    async def forgetful(self, side: Side) -> str:
        """A query without a WHERE."""
        async with self._pool.acquire() as connection, tenant_transaction(connection, side.company, readonly=True):
            rows = await connection.fetch("SELECT id::text, pg_backend_pid() FROM events")
        assert {row[0] for row in rows} == side.events
        self.pids[rows[0][1]] += 1
        return "read"

    async def wrong(self, side: Side) -> str:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with self._pool.acquire() as connection, tenant_transaction(connection, side.company):
                await connection.fetch("SELECT 1 / (seq - seq) FROM events")
        return "failed"

    async def cut_at_work(self, side: Side) -> str:
        """Cancelled when the query is with the server, which would take seconds over it."""
        begun = asyncio.Event()

        async def query() -> None:
            async with self._pool.acquire() as connection, tenant_transaction(connection, side.company):
                asyncio.get_running_loop().call_soon(begun.set)
                await connection.fetch("SELECT pg_sleep(4) FROM events LIMIT 1")

        task = asyncio.create_task(query())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "cut at work"

    async def cut_anywhere(self, side: Side) -> str:
        """Cancelled at any moment: while it waits for the connection, begins, asks or ends."""
        task = asyncio.create_task(self.forgetful(side))
        for _ in range(self._random.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cut anywhere"

    async def nobody(self, _side: Side) -> str:
        """Nothing is left of the one before."""
        async with self._pool.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM events") == 0
            assert not await connection.fetchval("SELECT current_setting('hyrelog.company', true)")
        return "read"


async def test_two_tenants_requests_never_meet_on_one_connection(pool: Pool, sides: tuple[Side, Side]) -> None:
    """1,000 requests with failures and cancels in mid-query: each sees all of its own rows, and none of another's."""
    traffic = Traffic(pool, sides, seed=4)
    await traffic.run()
    assert traffic.fates.total() == REQUESTS
    assert min(traffic.fates[fate] for fate in ("read", "failed", "cut at work", "cut anywhere")) > 50, traffic.fates
    assert traffic.pids.most_common(1)[0][1] > 10, "hardly a connection served twice: nothing was tried"


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("commit", nullcontext()),
        ("failure", pytest.raises(asyncpg.UndefinedColumnError)),
        ("cancel", pytest.raises(asyncio.CancelledError)),
    ],
)
async def test_whom_it_works_for_ends_with_the_transaction(
    pool: Pool, sides: tuple[Side, Side], ending: str, expected: AbstractContextManager[object]
) -> None:
    """Even on a connection that is not given back in between."""
    async with pool.acquire() as connection:
        with expected:
            async with tenant_transaction(connection, sides[0].company):
                assert await connection.fetchval("SELECT count(*) FROM events") == 2 * EVENTS
                if ending == "failure":
                    await connection.execute("SELECT no_such_column FROM events")
                if ending == "cancel":
                    raise asyncio.CancelledError
        assert await connection.fetchval("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize("table", OWNERS)
async def test_a_query_without_a_where_sees_the_callers_rows_alone(pool: Pool, sides: tuple[Side, Side], table: str) -> None:
    for side in sides:
        async with pool.acquire() as connection, tenant_transaction(connection, side.company, readonly=True):
            found = await connection.fetch(f"SELECT DISTINCT {OWNERS[table]} FROM {table}")
        assert [str(row[0]) for row in found] == [side.company]


@pytest.mark.parametrize("table", OWNERS)
async def test_nobody_sees_nothing(pool: Pool, sides: tuple[Side, Side], table: str) -> None:
    async with pool.acquire() as connection:
        assert await connection.fetchval(f"SELECT count({OWNERS[table]}) FROM {table}") == 0


@pytest.mark.parametrize(
    "table",
    ["workspace", "project", "api_key", "chain_head", "events", "event_key", "event_alias", "rejected", "archive_range", "chain_floor"],
)
async def test_a_workspace_keys_caller_sees_its_workspace_alone(pool: Pool, sides: tuple[Side, Side], table: str) -> None:
    column = "id" if table == "workspace" else "workspace_id"
    workspace = sides[0].tenant.workspaces[0].id
    async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company, str(workspace), readonly=True):
        found = await connection.fetch(f"SELECT DISTINCT {column} FROM {table}")
    assert [row[0] for row in found] == [workspace]


COMPANYS = ("management_use", "webhook", "webhook_due", "webhook_attempt", "webhook_replay")


@pytest.mark.parametrize(("table", "seen"), [("api_key_use", 1), *((table, 0) for table in COMPANYS)])
async def test_a_workspace_keys_caller_sees_nothing_of_its_companys_other_keys(
    pool: Pool, sides: tuple[Side, Side], table: str, seen: int
) -> None:
    workspace = str(sides[0].tenant.workspaces[0].id)
    async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company, workspace, readonly=True):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == seen


async def test_another_companys_workspace_is_nothing(pool: Pool, sides: tuple[Side, Side]) -> None:
    foreign = str(sides[1].tenant.workspaces[0].id)
    async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company, foreign, readonly=True):
        assert await connection.fetchval("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO api_key (id, company_id, key_hash, prefix, name) VALUES (uuidv7(), $1, sha256('x'), 'x', 'x')",
        "INSERT INTO management_use VALUES ($1, now(), 1) ON CONFLICT (company_id) DO UPDATE SET operations = 0",
        "INSERT INTO audit_outbox (event_id, company_id, workspace_id, record) VALUES (uuidv7(), $1, uuidv7(), '')",
        "INSERT INTO webhook (id, company_id, workspace_id, url, events, from_seq, secret) VALUES ($1, $1, $1, 'x', '{X}', 1, '')",
        "INSERT INTO webhook_head VALUES (uuidv7(), $1, 0)",
        "INSERT INTO webhook_due VALUES (uuidv7(), uuidv7(), $1, uuidv7(), NULL, NULL, 'TEST', now())",
        "INSERT INTO export_job VALUES (uuidv7(), $1, NULL, 'HOT', 'CSV', '', NULL, NULL, 1, 1, false, true)",
        "INSERT INTO export_scope VALUES (uuidv7(), $1, uuidv7(), 1, 1)",
        "INSERT INTO webhook_replay (webhook_id, company_id, workspace_id, id, event_ids) VALUES (uuidv7(), $1, uuidv7(), uuidv7(), '{}')",
    ],
)
async def test_nothing_is_written_in_another_companys_name(pool: Pool, sides: tuple[Side, Side], statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company):
            await connection.execute(statement, sides[1].tenant.id)


async def test_another_companys_key_can_not_be_rotated(pool: Pool, sides: tuple[Side, Side]) -> None:
    async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company):
        done = await connection.execute("UPDATE api_key SET expires_at = now() WHERE company_id = $1", sides[1].tenant.id)
    assert done == "UPDATE 0"


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET action = 'x'", "DELETE FROM events", "TRUNCATE events", "INSERT INTO events (seq) VALUES (1)"]
)
async def test_the_api_can_not_change_its_callers_events(pool: Pool, sides: tuple[Side, Side], statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company):
            await connection.execute(statement)


async def test_no_key_can_be_read_out_of_the_database(pool: Pool, sides: tuple[Side, Side]) -> None:
    """Not even its keyed hash, and not even one's own."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company):
            await connection.fetch("SELECT key_hash FROM api_key")


@pytest.mark.parametrize("id", ["", "'; RESET ROLE; --", "00000000-0000-0000-0000-00000000000g"])
async def test_whom_it_works_for_is_an_id_and_no_sql(pool: Pool, id: str) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(ValueError, match=r"UUID|int\(\)"):
            async with tenant_transaction(connection, id):
                pytest.fail("it began")


async def test_a_reading_transaction_writes_nothing(pool: Pool, sides: tuple[Side, Side]) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company, readonly=True):
            await connection.execute("UPDATE api_key SET expires_at = now()")


async def test_the_operators_view_of_rejections_is_of_all_companies(pool: Pool, sides: tuple[Side, Side]) -> None:
    found = await Store({Region.US: pool}, Metrics(CollectorRegistry())).all_rejections(Region.US, None, 200)
    assert {UUID(rejection.company_id or "") for rejection, _ in found} >= {side.tenant.id for side in sides}


async def test_ingest_asks_for_each_companys_own(servers: LocalStack, superuser: Database, sides: tuple[Side, Side]) -> None:
    """Its role reads across tenants, so that one look serves all who wait: the statements alone keep them apart."""
    (event, other), (company, foreign) = ((min(side.events) for side in sides), (side.company for side in sides))
    rejected = str(await superuser.fetchval("SELECT id FROM rejected WHERE company_id = $1", UUID(company)))
    workspace = sides[0].tenant.workspaces[0]
    project = str(workspace.project_id)
    opened = await open_pool(servers.settings(Role.INGEST).database_url(Region.US), application_name="walls", max_size=1)
    async with opened as pool:
        store = IngestStore(Region.US, pool)
        found, refused = await store.outcomes({event: company, other: company, rejected: company})
        assert (set(found), set(refused)) == ({event}, {rejected})
        assert await store.outcomes({event: foreign, rejected: foreign}) == ({}, {})
        assert await store.projects(company, str(workspace.id), [project]) == {project}
        assert await store.projects(foreign, str(workspace.id), [project]) == set()


_SEARCH_FOUND = (
    "SELECT s.workspace_id FROM search_found($1, $2, ROW('-infinity', 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
    " NULL, NULL, NULL, NULL)::event_filter, '{%s}', CASE WHEN $2::uuid IS NULL THEN 'company' ELSE 'seq' END, false,"
    " ROW('-infinity', 0, '00000000-0000-0000-0000-000000000000')::event_place, %d, 100) s"
)
_SEARCHES = {
    "search_found": _SEARCH_FOUND % ("", 0),
    "search_found on a walk": _SEARCH_FOUND % ("", 100),
    "search_found by a token": _SEARCH_FOUND % ("TOKEN", 0),
    "search_indexed": "SELECT i.workspace_id FROM search_indexed($1, $2) i",
    "search_missing": "SELECT m.workspace_id FROM search_missing($1, $2) m",
}


@pytest.mark.parametrize("search", _SEARCHES)
async def test_what_searches_over_the_walls_shows_the_callers_rows_alone(
    pool: Pool, sides: tuple[Side, Side], superuser: Database, search: str
) -> None:
    """Whatever company or workspace it is called with: it asks the transaction whose it is, not its caller."""
    side, other = sides
    own, theirs = ({workspace.id for workspace in each.tenant.workspaces} for each in sides)
    for workspace in own | theirs:
        await superuser.execute(
            "INSERT INTO search_dead (topic, partition, workspace_id, seq, reason) VALUES ('t', 0, $1, 1, 'x') ON CONFLICT DO NOTHING",
            workspace,
        )
    (first, second), statement = own, _SEARCHES[search].replace("TOKEN", str(field_token(side.company, "category", "user")))

    async def seen(company: UUID, workspace: UUID | None, tenant_workspace: UUID | None = None) -> set[UUID]:
        inside = None if tenant_workspace is None else str(tenant_workspace)
        async with pool.acquire() as connection, tenant_transaction(connection, side.company, inside, readonly=True):
            return {row[0] for row in await connection.fetch(statement, company, workspace)} - {await audit_of(side)}

    async def audit_of(side: Side) -> UUID:
        found: UUID = await superuser.fetchval("SELECT id FROM workspace WHERE company_id = $1 AND kind = 'AUDIT'", side.tenant.id)
        return found

    assert await seen(side.tenant.id, None) == own
    assert await seen(side.tenant.id, first) == {first}
    assert await seen(side.tenant.id, None, first) == {first}
    assert await seen(side.tenant.id, second, first) == set()
    assert await seen(other.tenant.id, None) == set()
    assert await seen(side.tenant.id, min(theirs)) == set()
    async with pool.acquire() as connection:
        assert await connection.fetch(statement, side.tenant.id, None) == []


@pytest.mark.parametrize("table", ["search", "search_dead", "search_position"])
async def test_the_search_table_is_nobodys_to_read(pool: Pool, sides: tuple[Side, Side], table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        async with pool.acquire() as connection, tenant_transaction(connection, sides[0].company):
            await connection.fetch(f"SELECT * FROM {table}")
