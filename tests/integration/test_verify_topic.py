"""``hyrelog verify --topic``: the topic read by the reader's rule, its gaps and forgeries named, and Postgres compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from ops.kafka import partition_of, producer
from ops.local.environment import Role
from ops.settings import Settings
from ops.verify.report import Report
from ops.verify.topic import decode, walk_topic
from schemas.codec import encode_stored
from schemas.event import Group, StoredEvent
from schemas.topics import Region, events_topic
from tests.support.chains import Chain, store
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
REGION = Region.US


@dataclass
class Case:
    """A chain of six events in Postgres, settled, and a topic to announce them on."""

    settings: Settings
    chain: Chain
    events: list[StoredEvent]
    superuser: Database

    async def announce(self, events: Sequence[StoredEvent], *, key: str | None = None, partition: int | None = None) -> None:
        await self.send([encode_stored(event) for event in events], key=key, partition=partition)

    async def send(self, values: Sequence[bytes], *, key: str | None = None, partition: int | None = None) -> None:
        if partition is None:
            partition = partition_of(self.chain.workspace_id, self.settings.topic_partitions)
        async with producer(self.settings, REGION) as sender:
            for value in values:
                await sender.send_and_wait(events_topic(REGION), value, key=(key or self.chain.workspace_id).encode(), partition=partition)

    async def purge(self, seq: int, *, hash: bytes | None = None) -> None:
        """What purging leaves behind."""
        await self.superuser.execute("SET session_replication_role = replica")
        await self.superuser.execute("DELETE FROM events WHERE workspace_id = $1 AND seq <= $2", self.chain.workspace_id, seq)
        await self.superuser.execute(
            "INSERT INTO chain_floor (workspace_id, company_id, seq, hash, archive_day, received_at) VALUES ($1, $2, $3, $4, $5, now())",
            *(self.chain.workspace_id, self.chain.company_id, seq, hash or self.events[seq - 1].hash, date(2026, 1, 1)),
        )

    async def audit(self) -> tuple[list[tuple[str, int, str]], Report]:
        report = Report(lambda _finding: None)
        await walk_topic(self.settings, REGION, report, lambda _total: lambda _count: None, UUID(self.chain.workspace_id))
        return [(found.workspace_id, found.seq, found.field) for found in report.findings], report

    async def findings(self) -> list[tuple[str, int, str]]:
        return (await self.audit())[0]

    def at(self, seq: int, field: str) -> list[tuple[str, int, str]]:
        return [(self.chain.workspace_id, seq, field)]


@pytest.fixture
async def case(servers: LocalStack, superuser: Database) -> Case:
    tenant = servers.tenant()
    chain = Chain(str(tenant.id), str(tenant.workspaces[0].id))
    events = chain.events(6)
    await store(superuser, chain, events)
    await superuser.execute("UPDATE chain_head SET updated_at = now() - interval '1 minute' WHERE workspace_id = $1", chain.workspace_id)
    return Case(servers.settings(Role.AUDITOR), chain, events, superuser)


async def test_an_announced_chain_passes(case: Case) -> None:
    await case.announce(case.events)
    found, report = await case.audit()
    assert (found, report.events, report.repeats) == ([], 6, 0)


async def test_repeats_are_dropped_by_the_readers_rule(case: Case) -> None:
    await case.announce(case.events[:4])
    await case.announce(case.events[1:])
    found, report = await case.audit()
    assert (found, report.events, report.repeats) == ([], 6, 3)


async def test_a_gap_is_found(case: Case) -> None:
    await case.announce(case.events[:3] + case.events[4:])
    assert await case.findings() == case.at(5, "seq")


async def test_a_missing_beginning_is_found(case: Case) -> None:
    await case.announce(case.events[2:])
    assert await case.findings() == case.at(3, "seq")


async def test_what_was_never_announced_is_found(case: Case) -> None:
    await case.announce(case.events[:4])
    assert await case.findings() == case.at(5, "seq")


async def test_a_chain_without_any_record_is_found(case: Case) -> None:
    assert await case.findings() == case.at(1, "seq")


async def test_what_was_stored_a_moment_ago_may_still_be_on_its_way(case: Case) -> None:
    await case.announce(case.events[:4])
    await case.superuser.execute("UPDATE chain_head SET updated_at = now() WHERE workspace_id = $1", case.chain.workspace_id)
    assert await case.findings() == []


async def test_a_chain_that_postgres_lost_with_its_head_is_found(case: Case) -> None:
    """The one thing that the chains in Postgres can't tell of themselves."""
    await case.announce(case.events)
    await case.superuser.execute("DELETE FROM chain_head WHERE workspace_id = $1", case.chain.workspace_id)
    assert await case.findings() == case.at(1, "seq")


async def test_what_was_purged_may_still_be_on_the_topic(case: Case) -> None:
    await case.announce(case.events)
    await case.purge(4)
    found, report = await case.audit()
    assert (found, report.events) == ([], 6)


async def test_a_chain_that_was_purged_wholly_may_still_be_on_the_topic(case: Case) -> None:
    await case.announce(case.events)
    await case.purge(6)
    assert await case.findings() == []


async def test_another_floor_than_the_topic_tells_is_found(case: Case) -> None:
    await case.announce(case.events)
    await case.purge(4, hash=bytes(32))
    assert await case.findings() == case.at(4, "hash")


async def test_a_head_that_was_set_back_is_found(case: Case) -> None:
    await case.announce(case.events)
    before = case.events[3]
    await case.superuser.execute(
        "UPDATE chain_head SET seq = $2, hash = $3 WHERE workspace_id = $1", case.chain.workspace_id, before.seq, before.hash
    )
    assert await case.findings() == case.at(5, "seq")


@pytest.mark.parametrize(
    ("forge", "field"),
    [
        (lambda event: replace(event, action="forged"), "hash"),
        (lambda event: replace(event, prev_hash=bytes(32)), "prevHash"),
        (lambda event: replace(event, metadata=Group(event.metadata.commitment, bytes(16) + b"{}")), "metadata"),
        (lambda event: replace(event, hash=bytes(32)), "hash"),
    ],
    ids=["action", "prevHash", "metadata", "hash"],
)
async def test_a_forged_record_is_named(case: Case, forge: Callable[[StoredEvent], StoredEvent], field: str) -> None:
    await case.announce([*case.events[:3], forge(case.events[3]), *case.events[4:]])
    assert await case.findings() == case.at(4, field)


async def test_another_history_than_postgres_is_found_at_the_head(case: Case) -> None:
    await case.announce(Chain(case.chain.company_id, case.chain.workspace_id).events(6))
    assert await case.findings() == case.at(6, "hash")


async def test_a_record_in_the_wrong_partition_is_found(case: Case) -> None:
    wrong = (partition_of(case.chain.workspace_id, case.settings.topic_partitions) + 1) % case.settings.topic_partitions
    await case.announce(case.events, partition=wrong)
    assert await case.findings() == case.at(1, "partition")


async def test_a_record_that_cannot_be_read_is_found(case: Case) -> None:
    await case.announce(case.events)
    await case.send([b"garbage", encode_stored(case.events[0])[:40]])
    assert [field for _, _, field in await case.findings()] == ["record", "record"]


def test_decoding_gives_back_what_was_encoded() -> None:
    chain = Chain(str(UUID(int=1)), str(UUID(int=2)))
    for event in (chain.event(), chain.event(actor=None, resource=None, metadata=None), chain.event(tenant_id="\U0001f600", outcome=None)):
        assert decode(encode_stored(event)) == event
        erased = replace(event, actor=event.actor and Group(event.actor.commitment, None))
        assert decode(encode_stored(erased)) == erased
