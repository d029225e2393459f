"""The audit relay on real servers: in order, one at a time, nothing left behind and nothing taken before Kafka has it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from ops import audit, kafka
from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.kafka import ConsumerRecord, partition_of
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.relay import region as regions
from ops.relay.region import RegionRelay
from ops.settings import Settings
from schemas.accepted import open_envelope
from schemas.audit import Entry, Outcome
from schemas.codec import Undecodable
from schemas.topics import Region, ingest_topic
from tests.support.managing import Database, audit_workspace
from tests.support.stack import LocalStack

REGION = Region.EU
PATIENCE = 30.0
LOCK = "SELECT pg_advisory_lock(hashtextextended('hyrelog.relay', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('hyrelog.relay', 0))"


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.RELAY)


@pytest.fixture
async def database(servers: LocalStack) -> AsyncIterator[Database]:
    """The region's database, its outbox empty."""
    connection = await asyncpg.connect(servers.superuser_url(REGION))
    await connection.execute("TRUNCATE audit_outbox")
    yield connection
    await connection.close()


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[tuple[RegionRelay, Metrics]]:
    """A relay at work."""
    metrics = Metrics(CollectorRegistry())
    relay = RegionRelay(settings, REGION, metrics=metrics, clock=SystemClock(), faults=FaultPoints(None))
    async with relay:
        yield relay, metrics


async def write(database: Database, company: UUID | None, count: int = 1, **metadata: Any) -> list[str]:
    """That many entries in the outbox, each of a transaction of its own; their event ids."""
    made = []
    for number in range(count):
        entry = Entry("test.act", Outcome.SUCCESS, {"type": "test"}, os.urandom(16).hex(), metadata={"number": number} | metadata)
        now = time.time_ns() // 1000
        made.append(await audit.write(database, entry, region=REGION, company_id=None if company is None else str(company), now=now))
    return made


async def sent(settings: Settings, key: UUID) -> list[ConsumerRecord]:
    """The records of a workspace, in the log's order."""
    return [each async for each in kafka.read_topic(settings, REGION, ingest_topic(REGION)) if each.key == str(key).encode()]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.05)


async def waiting(database: Database) -> int:
    found: int = await database.fetchval("SELECT count(*) FROM audit_outbox")
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"region": REGION.value} | labels) or 0.0


def ids(records: list[ConsumerRecord]) -> list[str]:
    return [event.id_text for each in records for event in open_envelope(each.value).events]


async def test_entries_go_out_in_order_and_leave_the_outbox(settings: Settings, database: Database, servers: LocalStack) -> None:
    """More than a batch, of several companies; each with its key, its partition and the trace of the call."""
    companies = [servers.tenant(REGION).id for _ in range(3)]
    made: dict[UUID, list[str]] = {company: [] for company in companies}
    for _ in range(50):
        for company in companies:
            made[company] += await write(database, company, 3)
    async with relaying(settings) as (relay, metrics):
        await until(lambda: _is_empty(database))
        await relay.check()
    for company in companies:
        workspace = await audit_workspace(database, company)
        records = await sent(settings, workspace)
        assert ids(records) == made[company]
        assert {record.partition for record in records} == {partition_of(str(workspace), settings.topic_partitions)}
        for record in records:
            (event,) = open_envelope(record.value).events
            assert dict(record.headers)["traceparent"].split(b"-")[1] == event.trace_id.hex().encode()
    assert value(metrics, "hyrelog_relay_sent_entries_total") == 450


async def _is_empty(database: Database) -> bool:
    return await waiting(database) == 0


async def test_the_operators_entries_go_to_its_own_workspace(settings: Settings, database: Database) -> None:
    made = await write(database, None)
    holder = await database.fetchrow("SELECT company_id, workspace_id FROM operator_audit_workspace()")
    assert holder
    async with relaying(settings):
        await until(lambda: _is_empty(database))
    records = await sent(settings, holder["workspace_id"])
    assert ids(records)[-1:] == made
    assert open_envelope(records[-1].value).company_id == str(holder["company_id"])


async def test_large_entries_go_in_several_batches(settings: Settings, database: Database, servers: LocalStack) -> None:
    """More bytes than a relay holds at a time."""
    company = servers.tenant(REGION).id
    made = await write(database, company, 60, padding="x" * 120_000)
    async with relaying(settings):
        await until(lambda: _is_empty(database))
    assert ids(await sent(settings, await audit_workspace(database, company))) == made


async def test_while_another_relay_works_this_one_stands_by(settings: Settings, database: Database, servers: LocalStack) -> None:
    company = servers.tenant(REGION).id
    await database.execute(LOCK)
    made = await write(database, company, 3)
    async with relaying(settings) as (_, metrics):
        await until(lambda: _sees(metrics, 3))
        assert await sent(settings, await audit_workspace(database, company)) == []
        assert value(metrics, "hyrelog_relay_outbox_age_seconds") > 0
        await database.execute(UNLOCK)
        await until(lambda: _is_empty(database))
        await until(lambda: _sees(metrics, 0))
    assert ids(await sent(settings, await audit_workspace(database, company))) == made


async def _sees(metrics: Metrics, entries: int) -> bool:
    return value(metrics, "hyrelog_relay_outbox_entries") == entries


async def test_two_relays_send_each_entry_once_and_in_order(settings: Settings, database: Database, servers: LocalStack) -> None:
    company = servers.tenant(REGION).id
    async with relaying(settings), relaying(settings):
        made = await write(database, company, 400)
        await until(lambda: _is_empty(database))
    assert ids(await sent(settings, await audit_workspace(database, company))) == made


async def test_an_entry_that_comes_while_it_rests_is_sent_at_once(
    settings: Settings, database: Database, servers: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database notifies of it; by itself it would look again in an hour."""
    monkeypatch.setattr(regions, "_QUIET_POLL_SECONDS", 3600.0)
    company = servers.tenant(REGION).id
    async with relaying(settings) as (relay, _):
        await until(lambda: _rests(relay))
        await write(database, company)
        await until(lambda: _is_empty(database))


async def test_an_entry_is_sent_though_no_notification_came(
    settings: Settings, database: Database, servers: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that went silent with its connection."""
    monkeypatch.setattr(regions, "_QUIET_POLL_SECONDS", 0.2)
    company = servers.tenant(REGION).id
    async with relaying(settings) as (relay, _):
        await until(lambda: _listens(relay))
        relay._listener._on_notification = lambda: None
        await write(database, company)
        await until(lambda: _is_empty(database))


async def test_it_listens_again_after_its_connection_was_ended(
    settings: Settings, database: Database, servers: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "_QUIET_POLL_SECONDS", 3600.0)
    company = servers.tenant(REGION).id
    async with relaying(settings) as (relay, _):
        await until(lambda: _rests(relay))
        await database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%audit_outbox%'")
        await write(database, company)
        await until(lambda: _is_empty(database))
        await until(lambda: _rests(relay))


async def _rests(relay: RegionRelay) -> bool:
    """It sleeps for long, and is notified."""
    return relay._listener.is_listening and 1 < relay._alarm._due - asyncio.get_running_loop().time() < float("inf")


async def _listens(relay: RegionRelay) -> bool:
    return relay._listener.is_listening


@pytest.mark.parametrize("change", ["kafka away", "another partition count"])
async def test_entries_wait_until_they_can_be_sent_right(settings: Settings, database: Database, servers: LocalStack, change: str) -> None:
    """Kafka may be away for long; and a topic that is not what the settings say would break the order."""
    company = servers.tenant(REGION).id
    made = await write(database, company, 3)
    away = change == "kafka away"
    other: dict[str, Any] = {"kafka_bootstrap": "127.0.0.1:1"} if away else {"topic_partitions": 4}
    async with relaying(settings.model_copy(update=other)) as (relay, metrics):
        await until(lambda: _retried(metrics, "KafkaConnectionError" if away else "TopicMismatch"))
        if away:
            with pytest.raises(ConnectionError):
                await relay.check()
    assert await waiting(database) == 3
    async with relaying(settings):
        await until(lambda: _is_empty(database))
    assert ids(await sent(settings, await audit_workspace(database, company))) == made


async def _retried(metrics: Metrics, error: str) -> bool:
    return value(metrics, "hyrelog_relay_retries_total", error=error) > 0


async def test_what_is_no_entry_holds_up_nobody(settings: Settings, database: Database, servers: LocalStack) -> None:
    """Nothing but a hand in the table can put it there; the chain worker rejects it for all to see."""
    company = servers.tenant(REGION).id
    workspace = await audit_workspace(database, company)
    row = (uuid4(), company, workspace, b"garbage")
    await database.execute("INSERT INTO audit_outbox (event_id, company_id, workspace_id, record) VALUES ($1, $2, $3, $4)", *row)
    made = await write(database, company)
    async with relaying(settings):
        await until(lambda: _is_empty(database))
    first, *rest = await sent(settings, workspace)
    assert first.value == b"garbage"
    assert ids(rest) == made


@pytest.mark.parametrize("column", ["company_id and workspace_id", "event_id"])
async def test_an_entry_that_is_not_its_rows_joins_no_chain(
    settings: Settings, database: Database, servers: LocalStack, column: str
) -> None:
    """Who may write entries of one company must not write those of another: row-level security reads the row, not the record."""
    company, foreign = servers.tenant(REGION).id, servers.tenant(REGION).id
    workspace = await audit_workspace(database, company)
    await write(database, company if column == "event_id" else foreign)
    record: bytes = await database.fetchval("DELETE FROM audit_outbox RETURNING record")
    event_id = uuid4() if column == "event_id" else UUID(open_envelope(record).events[0].id_text)
    row = (event_id, company, workspace, record)
    await database.execute("INSERT INTO audit_outbox (event_id, company_id, workspace_id, record) VALUES ($1, $2, $3, $4)", *row)
    made = await write(database, company)
    async with relaying(settings):
        await until(lambda: _is_empty(database))
    first, *rest = await sent(settings, workspace)
    with pytest.raises(Undecodable):
        open_envelope(first.value)
    assert first.value.endswith(record)
    assert ids(rest) == made
    assert await sent(settings, await audit_workspace(database, foreign)) == []


async def test_no_entry_goes_to_a_customers_own_workspace(database: Database, servers: LocalStack) -> None:
    tenant = servers.tenant(REGION)
    row = (uuid4(), tenant.id, tenant.workspaces[0].id, b"x")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await database.execute("INSERT INTO audit_outbox (event_id, company_id, workspace_id, record) VALUES ($1, $2, $3, $4)", *row)


async def test_an_entry_of_a_company_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(audit.NoAuditWorkspace):
        await write(database, UUID(int=1))
    assert await waiting(database) == 0


async def test_an_entry_goes_with_its_transaction(database: Database, servers: LocalStack) -> None:
    company = servers.tenant(REGION).id
    transaction = database.transaction()
    await transaction.start()
    await write(database, company)
    await transaction.rollback()
    assert await waiting(database) == 0
