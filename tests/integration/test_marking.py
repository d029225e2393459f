"""retention-marking and archival on real servers: what is due becomes ranges that tile, parts that are sent, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from ops import kafka
from ops.db import Row
from ops.faults import FaultPoints
from ops.jobs import marking, sending
from ops.jobs.work import JobFailed, Work
from ops.seed import Tenant
from ops.settings import Settings
from schemas.archive import ArchiveWork, day_of, decode_work
from schemas.codec import ARCHIVE_HEADER
from schemas.event import StoredEvent
from schemas.retention import DAY_MICROS
from schemas.topics import Region, archive_topic
from tests.support.archiving import Superuser
from tests.support.chains import BASE_TIME, Chain, store
from tests.support.keys import FakeClock
from tests.support.managing import audit_workspace
from tests.support.stack import LocalStack
from tests.support.working import working


@pytest.fixture
async def database(superuser: Superuser) -> AsyncIterator[Superuser]:
    """With nothing of other tests' in it that could be due, and left like that."""
    await _clear(superuser)
    yield superuser
    await _clear(superuser)


async def _clear(superuser: Superuser) -> None:
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute("DELETE FROM archive_range")
        await superuser.execute("DELETE FROM archive_part")
        await superuser.execute("DELETE FROM chain_floor")
        await superuser.execute("DELETE FROM events")
        await superuser.execute("DELETE FROM chain_head")


@pytest.fixture
def clock() -> FakeClock:
    """40 days after the first events."""
    clock = FakeClock()
    clock.now = (BASE_TIME + 40 * DAY_MICROS) / 1e6
    return clock


@pytest.fixture
async def work(servers: LocalStack, database: Superuser, clock: FakeClock) -> AsyncIterator[Work]:
    async with working(servers, clock=clock) as work:
        yield work


async def _terms(superuser: Superuser, tenant: Tenant, *periods: tuple[int, int, int | None, int | None]) -> None:
    """The company's retention: since when (days behind the first events), hot, archive, cold."""
    await superuser.execute("DELETE FROM company_retention WHERE company_id = $1", tenant.id)
    for since, *days in periods:
        await superuser.execute("INSERT INTO company_retention VALUES ($1, $2, $3, $4, $5)", tenant.id, BASE_TIME + since, *days)


_STARTER = (0, 30, 180, None)


async def _chain(superuser: Superuser, tenant: Tenant, receipts: Sequence[int], workspace: UUID | None = None) -> list[StoredEvent]:
    """Events of those times of receipt, in microseconds behind the first day's beginning."""
    chain = Chain(str(tenant.id), str(workspace or tenant.workspaces[0].id))
    events = [chain.event(received_at=BASE_TIME + at) for at in receipts]
    await store(superuser, chain, events)
    return events


async def _ranges(superuser: Superuser, workspace_id: str) -> list[Row]:
    return await superuser.fetch("SELECT * FROM archive_range WHERE workspace_id = $1 ORDER BY from_seq", UUID(workspace_id))


async def _assert_tiled(superuser: Superuser, events: Sequence[StoredEvent], upto: int) -> list[Row]:
    """Every seq up to that one is in exactly one range, whose hashes are the events'."""
    ranges = await _ranges(superuser, events[0].workspace_id)
    by_seq = {event.seq: event for event in events}
    assert [seq for each in ranges for seq in range(each["from_seq"], each["to_seq"] + 1)] == list(range(1, upto + 1))
    for each in ranges:
        first, last = by_seq[each["from_seq"]], by_seq[each["to_seq"]]
        assert (each["first_prev_hash"], each["first_hash"], each["last_hash"]) == (first.prev_hash, first.hash, last.hash)
        assert {day_of(by_seq[seq].received_at) for seq in range(first.seq, last.seq + 1)} == {each["archive_day"]}
    for one, other in pairwise(ranges):
        assert other["first_prev_hash"] == one["last_hash"]
    return ranges


async def _sent(settings: Settings) -> list[ArchiveWork]:
    records = [record.value or b"" async for record in kafka.read_topic(settings, Region.US, archive_topic(Region.US))]
    return [decode_work(value) for value in records if value.startswith(ARCHIVE_HEADER)]  # another test's garbage is there too


async def test_days_whose_retention_is_over_are_marked_and_sent(servers: LocalStack, work: Work, database: Superuser) -> None:
    tenant = servers.tenant(workspaces=2)
    await _terms(database, tenant, _STARTER)
    hours = [day * DAY_MICROS + hour * 3_600_000_000 for day in range(12) for hour in (0, 9, 23)]
    first, second = [await _chain(database, tenant, hours, workspace.id) for workspace in tenant.workspaces]
    # Of day 9, the last moment's 30 days end with day 39.
    assert await marking.run(work) == {"events": 60, "ranges": 20, "parts": 10, "broken": 0, "sent": 10}
    for events in (first, second):
        ranges = await _assert_tiled(database, events, 30)
        assert {each["hot_until"] - (BASE_TIME + DAY_MICROS) for each in ranges} == {
            day * DAY_MICROS + 30 * DAY_MICROS for day in range(10)
        }
    part = await database.fetchrow("SELECT * FROM archive_part WHERE company_id = $1 ORDER BY archive_day LIMIT 1", tenant.id)
    assert part is not None
    assert (part["archive_day"], part["part"], part["row_count"], part["cold_after_days"]) == (date(2026, 1, 1), 1, 6, None)
    assert part["archive_until"] == BASE_TIME + DAY_MICROS + 180 * DAY_MICROS
    assert part["sent_at"] == work.clock.micros()
    told = next(each for each in await _sent(work.settings) if each.part_id == str(part["id"]))
    workspaces = sorted(str(each.id) for each in tenant.workspaces)
    assert (told.archive_day, [tuple(run) for run in told.ranges]) == (date(2026, 1, 1), [(each, 1, 3) for each in workspaces])
    assert await marking.run(work) == {"events": 0, "ranges": 0, "parts": 0, "broken": 0, "sent": 0}


async def test_a_change_of_plan_within_a_day_cuts_it_there(servers: LocalStack, work: Work, database: Superuser) -> None:
    """FREE, then GROWTH for an hour, then FREE: each event is under the plan that it came in by, whatever the company has now."""
    tenant = servers.tenant()
    noon, hour = DAY_MICROS // 2, 3_600_000_000
    await _terms(database, tenant, (-1, 7, None, None), (noon, 30, 365, 180), (noon + hour, 7, None, None))
    events = await _chain(database, tenant, [0, 1, noon - 1, noon, noon + 5, noon + hour, DAY_MICROS - 1, DAY_MICROS])
    assert (await marking.run(work))["broken"] == 0
    ranges = await _assert_tiled(database, events, 8)
    assert [(each["from_seq"], each["to_seq"], each["part_id"] is not None) for each in ranges] == [
        (1, 3, False),
        (4, 5, True),
        (6, 7, False),
        (8, 8, False),
    ]
    part = await database.fetchrow("SELECT row_count, cold_after_days FROM archive_part WHERE company_id = $1", tenant.id)
    assert tuple(part or ()) == (2, 180)


async def test_what_is_hot_still_holds_back_what_came_later_under_a_shorter_plan(
    servers: LocalStack, work: Work, database: Superuser, clock: FakeClock
) -> None:
    tenant = servers.tenant()
    await _terms(database, tenant, (-1, 90, 365, None), (DAY_MICROS, 7, None, None))
    events = await _chain(database, tenant, [0, DAY_MICROS + 1])
    assert (await marking.run(work))["events"] == 0
    clock.now += 60 * 86400
    assert (await marking.run(work))["events"] == 2
    await _assert_tiled(database, events, 2)


async def test_audit_workspaces_are_marked_after_a_year(servers: LocalStack, work: Work, database: Superuser, clock: FakeClock) -> None:
    tenant = servers.tenant()
    await _terms(database, tenant, (-1, 7, None, None))
    events = await _chain(database, tenant, [0], await audit_workspace(database, tenant.id))
    assert (await marking.run(work))["events"] == 0
    clock.now = (BASE_TIME + 366 * DAY_MICROS) / 1e6
    assert (await marking.run(work))["events"] == 1
    (only,) = await _assert_tiled(database, events, 1)
    assert only["part_id"] is None


async def test_a_large_day_is_cut_into_parts(servers: LocalStack, work: Work, database: Superuser, clock: FakeClock) -> None:
    tenant = servers.tenant(workspaces=2)
    await _terms(database, tenant, _STARTER)
    first, second = [
        await _chain(database, tenant, range(25), workspace.id) for workspace in sorted(tenant.workspaces, key=lambda w: str(w.id))
    ]
    async with working(servers, clock=clock, settings=work.settings.model_copy(update={"archive_part_rows": 10})) as small:
        assert await marking.run(small) == {"events": 50, "ranges": 6, "parts": 5, "broken": 0, "sent": 5}
    ranges = [*await _assert_tiled(database, first, 25), *await _assert_tiled(database, second, 25)]
    assert [(each["from_seq"], each["to_seq"]) for each in ranges] == [(1, 10), (11, 20), (21, 25), (1, 5), (6, 15), (16, 25)]
    rows = await database.fetch("SELECT part, row_count FROM archive_part WHERE company_id = $1 ORDER BY part", tenant.id)
    assert [tuple(row) for row in rows] == [(number, 10) for number in range(1, 6)]


async def test_markers_beside_each_other_make_one_tiling(servers: LocalStack, work: Work, database: Superuser, clock: FakeClock) -> None:
    tenant = servers.tenant(workspaces=3)
    await _terms(database, tenant, _STARTER)
    chains = [await _chain(database, tenant, [day * DAY_MICROS for day in range(9)], workspace.id) for workspace in tenant.workspaces]
    async with working(servers, clock=clock) as other, working(servers, clock=clock) as third:
        done = await asyncio.gather(*map(marking.run, (work, other, third)))
    assert sum(counts["events"] for counts in done) == 27
    for events in chains:
        await _assert_tiled(database, events, 9)
    assert await database.fetchval("SELECT count(*) FROM archive_part WHERE company_id = $1", tenant.id) == 9


class _Killed(BaseException):
    pass


class _Kill(FaultPoints):
    """Ends the job where a process would die."""

    def __init__(self, place: str) -> None:
        super().__init__(None)
        self._place = place

    def hit(self, name: str) -> None:
        if name == self._place:
            raise _Killed


@pytest.mark.parametrize("place", ["marking_before_commit", "marking_committed", "archival_sent"])
async def test_killed_anywhere_the_next_run_ends_it(
    servers: LocalStack, work: Work, database: Superuser, clock: FakeClock, place: str
) -> None:
    tenant = servers.tenant()
    await _terms(database, tenant, _STARTER)
    events = await _chain(database, tenant, [0, 1, DAY_MICROS, DAY_MICROS + 1])
    async with working(servers, clock=clock, faults=_Kill(place)) as killed:
        with pytest.raises(_Killed):
            await marking.run(killed)
    await marking.run(work)
    await _assert_tiled(database, events, 4)
    assert await database.fetchval("SELECT count(*) FROM archive_part WHERE sent_at IS NULL") == 0
    parts = {str(row[0]) for row in await database.fetch("SELECT id FROM archive_part")}
    assert parts <= {each.part_id for each in await _sent(work.settings)}


@pytest.mark.parametrize("missing", [1, 3, 4])
async def test_nothing_is_marked_behind_events_that_are_missing(servers: LocalStack, work: Work, database: Superuser, missing: int) -> None:
    """It never happens; and if it does, it is told, and others are not kept waiting. What halving does not come by, the sink refuses."""
    tenant = servers.tenant(workspaces=2)
    await _terms(database, tenant, _STARTER)
    events, whole = [await _chain(database, tenant, range(4), workspace.id) for workspace in tenant.workspaces]
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        await database.execute("DELETE FROM events WHERE id = $1", UUID(events[missing - 1].id))
    with pytest.raises(JobFailed, match="events of 1 workspaces are missing"):
        await marking.run(work)
    assert await _ranges(database, events[0].workspace_id) == []
    await _assert_tiled(database, whole, 4)


async def test_what_was_sent_long_ago_and_is_not_archived_is_sent_again(
    servers: LocalStack, work: Work, database: Superuser, clock: FakeClock
) -> None:
    """The topic may have forgotten it."""
    tenant = servers.tenant()
    await _terms(database, tenant, _STARTER)
    await _chain(database, tenant, [0])
    await marking.run(work)
    assert await sending.run(work) == {"sent": 0, "waiting": 1}
    clock.now += 86400
    assert await sending.run(work) == {"sent": 1, "waiting": 1}
    part_id = str(await database.fetchval("SELECT id FROM archive_part WHERE company_id = $1", tenant.id))
    assert [each.part_id for each in await _sent(work.settings)].count(part_id) == 2


async def test_by_hand_archival_waits_until_the_sink_is_done(
    servers: LocalStack, work: Work, database: Superuser, clock: FakeClock
) -> None:
    tenant = servers.tenant()
    await _terms(database, tenant, _STARTER)
    await _chain(database, tenant, [0])
    await marking.run(work)
    waited: list[Any] = []

    async def archive_meanwhile() -> None:
        waited.append(1)
        await database.execute("UPDATE archive_part SET archive_error = 'refused' WHERE company_id = $1", tenant.id)

    async with working(servers, clock=clock, is_by_hand=True, beat=archive_meanwhile) as by_hand:
        assert await sending.run(by_hand) == {"sent": 0, "waiting": 0}
    assert waited


async def test_a_company_that_can_not_be_marked_keeps_no_other_one_waiting(work: Work, servers: LocalStack, database: Superuser) -> None:
    """Such as one whose archives would have to be kept beyond all calendars."""
    broken, whole = servers.tenant(), servers.tenant()
    assert broken.id < whole.id
    await _terms(database, broken, (0, 30, 999_999_999, None))
    await _terms(database, whole, _STARTER)
    for tenant in (broken, whole):
        await _chain(database, tenant, [0, 1])
    with pytest.raises(JobFailed, match=str(broken.id)) as failure:
        await marking.run(work)
    assert failure.value.counts["events"] == 2
    assert [row["company_id"] for row in await database.fetch("SELECT company_id FROM archive_range")] == [whole.id]
