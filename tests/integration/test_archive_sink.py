"""Parts of the archive: written once and completely, whatever is killed in between, and read back as they were."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

import pytest

from ops.clock import SystemClock
from ops.faults import ARCHIVE_POINTS, FaultPoints
from ops.kafka import partition_of, producer
from ops.local.environment import Role
from schemas.archive import BLOCK_LINES, ArchiveRange, ArchiveWork, encode_work, events_key, keys_key
from schemas.chain import START, advance, verify
from schemas.event import StoredEvent
from schemas.retention import DAY_MICROS
from schemas.topics import Region, archive_topic
from sinks.archive.handle import NotAsMarked
from sinks.archive.region import RegionArchiver
from sinks.consumer import GroupMember
from tests.support.archiving import DAY, Archive, Superuser, archive_of, event_id, mark
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.stack import LocalStack


class _Killed(Exception):
    pass


class _Kill(FaultPoints):
    """Ends whatever comes by a place for the first time."""

    def __init__(self, place: str) -> None:
        super().__init__(None)
        self._place = place

    def hit(self, name: str) -> None:
        if name == self._place:
            raise _Killed


@pytest.fixture
async def archive(servers: LocalStack, superuser: Superuser) -> AsyncIterator[Archive]:
    async with archive_of(servers, superuser) as opened:
        yield opened


async def _stored(servers: LocalStack, superuser: Superuser, *counts: int, size: int = 20) -> list[StoredEvent]:
    """The events of a new company with as many workspaces as counts, by workspace and seq."""
    tenant = servers.tenant(workspaces=len(counts))
    events: list[StoredEvent] = []
    for workspace, count in sorted(zip(tenant.workspaces, counts, strict=True), key=lambda pair: str(pair[0].id)):
        chain = Chain(str(tenant.id), str(workspace.id))
        made = []
        for number in range(count):
            received = BASE_TIME + number * SECOND // 10
            event = chain.event(
                id=event_id(received), at=received, received_at=received, metadata=b'{"n":"%b"}' % os.urandom(size).hex().encode()
            )
            made.append(event)
        await store(superuser, chain, made)
        events += made
    return events


async def _read(archive: Archive, part_id: str) -> list[StoredEvent]:
    part = await archive.part(part_id)
    reader = await archive.reader(part)
    workspaces = await _workspaces(archive, part_id)
    return [
        event
        for workspace_id, from_seq, to_seq in workspaces
        for page in await asyncio.to_thread(list, reader.events(workspace_id, from_seq, to_seq))
        for event in page
    ]


async def _workspaces(archive: Archive, part_id: str) -> Sequence[ArchiveRange]:
    return [marked.run for marked in await archive.store.ranges(part_id)]


def _plain(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """What an archive holds of events: all but where they came from."""
    return [replace(event, source_offset=0, source_index=0) for event in events]


async def test_a_part_is_two_objects_that_hold_every_event_in_order(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 2500, 3, 1)
    part_id = await mark(superuser, events)
    assert await archive.writer().archive(part_id)
    part = await archive.part(part_id)
    assert part.key == events_key(events[0].company_id, DAY, 1)
    assert sorted(archive.objects.keys(f"archives/{part.company_id}/")) == [part.key, part.keys_key]
    stored = archive.objects.get(part.key)
    row = await superuser.fetchrow("SELECT sha256, content_sha256, size, row_count FROM archive_part WHERE id = $1", UUID(part_id))
    content = gzip.decompress(stored)
    assert row is not None
    assert tuple(row) == (sha256(stored).digest(), sha256(content).digest(), len(stored), len(events))
    assert content.count(b"\n") == len(events)
    assert [block.lines for block in part.blocks.blocks][:2] == [BLOCK_LINES, BLOCK_LINES]
    assert await _read(archive, part_id) == _plain(events)
    assert (part.received_from, part.occurred_to) == (min(e.received_at for e in events), max(e.timestamp for e in events))
    assert not any(value in content for value in (b"ada@test", b"u-1"))


async def test_any_run_of_events_is_read_back(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 1500, 700)
    part_id = await mark(superuser, events)
    await archive.writer().archive(part_id)
    reader = await archive.reader(await archive.part(part_id))
    own = [event for event in events if event.workspace_id == events[-1].workspace_id]
    for first, last in ((1, 1), (1, 700), (699, 700), (500, 503), (300, 650)):
        pages = await asyncio.to_thread(list, reader.events(own[0].workspace_id, first, last))
        assert [event.seq for page in pages for event in page] == list(range(first, last + 1))
    assert not [page for page in reader.events("ffffffff-ffff-7fff-bfff-ffffffffffff", 1, 5) if page]


async def test_an_event_is_found_by_its_id(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 1200)
    part_id = await mark(superuser, events)
    await archive.writer().archive(part_id)
    reader = await archive.reader(await archive.part(part_id))
    assert reader.find(events[1100].id) == _plain(events)[1100]
    assert reader.find(event_id(events[7].received_at)) is None
    assert reader.find(event_id(BASE_TIME - SECOND)) is None


@pytest.mark.parametrize("place", ARCHIVE_POINTS)
async def test_killed_anywhere_it_ends_in_the_same_objects_and_row(
    servers: LocalStack, superuser: Superuser, archive: Archive, place: str
) -> None:
    events = await _stored(servers, superuser, 1200)
    part_id = await mark(superuser, events)
    with pytest.raises(_Killed):
        await archive.writer(faults=_Kill(place)).archive(part_id)
    prefix = f"archives/{events[0].company_id}/"
    before = {key: archive.objects.get(key) for key in archive.objects.keys(prefix)}
    assert await archive.writer().archive(part_id) == (place != "archive_recorded")
    after = {key: archive.objects.get(key) for key in archive.objects.keys(prefix)}
    assert len(after) == 2
    assert before.items() <= after.items()
    assert await _read(archive, part_id) == _plain(events)
    assert archive.count("hyrelog_archive_conflicts_total") == 0
    assert archive.objects.abandon_uploads((await archive.part(part_id)).key) == 0


async def test_what_is_there_and_not_ours_is_left_alone_and_the_part_gets_the_next_number(
    servers: LocalStack, superuser: Superuser, archive: Archive
) -> None:
    events = await _stored(servers, superuser, 10)
    foreign = events_key(events[0].company_id, DAY, 1)
    theirs = gzip.compress(b"somebody else's\n")
    archive.objects.put_new(foreign, theirs)
    archive.objects.put_new(keys_key(events[0].company_id, DAY, 2), b"not even gzip")
    part_id = await mark(superuser, events)
    assert await archive.writer().archive(part_id)
    part = await archive.part(part_id)
    assert part.key == events_key(events[0].company_id, DAY, 3)
    assert archive.objects.get(foreign) == theirs
    assert archive.count("hyrelog_archive_conflicts_total") == 2
    assert await _read(archive, part_id) == _plain(events)


async def test_the_same_content_from_another_compressor_is_ours(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    """A release that compresses otherwise finishes what an older one began."""
    events = await _stored(servers, superuser, 2300)
    part_id = await mark(superuser, events)
    with pytest.raises(_Killed):
        await archive.writer(faults=_Kill("archive_keys_written")).archive(part_id)
    name = events_key(events[0].company_id, DAY, 1)
    members = _members(archive.objects.get(name))
    assert archive.objects.delete(name)
    archive.objects.put_new(name, b"".join(gzip.compress(member, 9) for member in members))
    assert await archive.writer().archive(part_id)
    assert await _read(archive, part_id) == _plain(events)
    assert archive.count("hyrelog_archive_conflicts_total") == 0


def _members(data: bytes) -> list[bytes]:
    members = []
    while data:
        inflate = zlib.decompressobj(31)
        members.append(inflate.decompress(data))
        data = inflate.unused_data
    return members


async def test_what_is_not_as_it_was_marked_is_not_archived(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    for change in ("UPDATE events SET category = 'other' WHERE id = $1", "DELETE FROM events WHERE id = $1"):
        events = await _stored(servers, superuser, 30)
        part_id = await mark(superuser, events)
        async with superuser.transaction():
            await superuser.execute("SET LOCAL session_replication_role = replica")
            await superuser.execute(change, UUID(events[20].id))
        with pytest.raises(NotAsMarked):
            await archive.writer().archive(part_id)
        assert not list(archive.objects.keys(f"archives/{events[0].company_id}/"))


async def test_large_events_are_streamed_in_small_blocks(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 60, size=60_000)
    part_id = await mark(superuser, events)
    await archive.writer().archive(part_id)
    assert max(block.lines for block in (await archive.part(part_id)).blocks.blocks) < 20
    assert await _read(archive, part_id) == _plain(events)


async def test_events_are_locked_and_salts_are_not(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 5)
    part_id = await mark(superuser, events, cold_after_days=180, archive_until=SystemClock().micros() + DAY_MICROS)
    settings = archive.settings.model_copy(update={"archive_lock_mode": "GOVERNANCE"})
    await archive.writer(settings=settings).archive(part_id)
    part = await archive.part(part_id)
    assert not archive.objects.delete(part.key)
    assert archive.objects.delete(part.keys_key)


async def test_what_is_past_its_retention_is_archived_without_a_lock(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    """Stores refuse a lock that is over, and one such part must not keep the others waiting."""
    part_id = await mark(superuser, await _stored(servers, superuser, 5), archive_until=SystemClock().micros())
    settings = archive.settings.model_copy(update={"archive_lock_mode": "GOVERNANCE"})
    assert await archive.writer(settings=settings).archive(part_id)
    assert archive.objects.delete((await archive.part(part_id)).key)


async def test_what_the_topic_names_is_archived_by_the_sink(servers: LocalStack, superuser: Superuser, archive: Archive) -> None:
    events = await _stored(servers, superuser, 40, 2)
    part_id = await mark(superuser, events)
    settings = servers.settings(Role.ARCHIVER)
    runs = tuple(await _workspaces(archive, part_id))
    key = runs[0].workspace_id
    kafka = producer(settings, Region.US)
    await kafka.start()
    try:
        for value in (b"garbage", encode_work(ArchiveWork(part_id, events[0].company_id, DAY, 1, runs))):
            await kafka.send_and_wait(
                archive_topic(Region.US), value, key=key.encode(), partition=partition_of(key, settings.topic_partitions)
            )
    finally:
        await kafka.stop()
    sink = RegionArchiver(settings, Region.US, metrics=archive.metrics, clock=SystemClock(), faults=FaultPoints(None))
    async with sink, GroupMember("archive", settings, [sink]), asyncio.timeout(60):
        while archive.count("hyrelog_archive_archived_events_total") < len(events):
            await asyncio.sleep(0.05)
    assert await _read(archive, part_id) == _plain(events)
    head = START
    for event in (each for each in await _read(archive, part_id) if each.workspace_id == events[0].workspace_id):
        assert verify(head, event) is None
        head = advance(event)
    assert archive.count("hyrelog_archive_refused_parts_total") == 1
