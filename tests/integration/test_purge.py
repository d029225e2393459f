"""Purging on real stores: what may go, goes; nothing else does, whoever asks; and whatever it is killed at, it ends in the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ops.jobs import purge
from ops.jobs.work import JobFailed
from ops.objects import StoreUnavailable
from tests.support.objects import settings_of_nothing
from tests.support.retiring import HOT_UNTIL, REGION, Kill, Killed, Retiring, retiring
from tests.support.stack import LocalStack

SOON = HOT_UNTIL + 1
POINTS = ("purge_tiles_written", "purge_before_record", "purge_recorded", "purge_batch_done")
TABLES = ("events", "event_key", "event_alias", "search")


@pytest.fixture
async def case(servers: LocalStack) -> AsyncIterator[Retiring]:
    async with retiring(servers) as found:
        yield found


async def purged(case: Retiring, **settings: Any) -> dict[str, int]:
    return await purge.run(case.work(SOON, **settings))


async def refuses(case: Retiring, workspace: str, first: int = 1) -> str:
    """What the database says to somebody who asks it to purge, past the job."""
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError) as error:
        await case.pool.fetchrow("SELECT removed FROM purge_events($1, $2, 10)", UUID(workspace), first)
    return str(error.value)


@pytest.mark.parametrize(
    ("count", "ends"),
    [(10, (10,)), (256, (256,)), (257, (255, 256, 257)), (600, (1, 2, 300, 600)), (1300, (512, 1000, 1300))],
)
async def test_ranges_go_in_order_and_leave_their_hashes(case: Retiring, count: int, ends: tuple[int, ...]) -> None:
    chain, events = await case.chain(0, count + 5)
    await case.mark(events, *ends)
    assert await purged(case, purge_batch_rows=100) == {"events": count, "ranges": len(ends)}
    assert await case.left(chain.workspace_id) == list(range(count + 1, count + 6))
    assert case.tiles(chain.workspace_id, 1, count) == [event.hash for event in events[:count]]
    assert await case.floor(chain.workspace_id) == (count, events[count - 1].hash)


async def test_everything_by_which_an_event_is_found_goes_with_it(case: Retiring) -> None:
    """Without an archive, ids that repeat one lead nowhere either."""
    chain, events = await case.chain(0, 12)
    await case.mark(events, 10)
    await purged(case)
    assert [await case.left(chain.workspace_id, table) for table in TABLES] == [[11, 12]] * 4


async def test_repeats_still_lead_into_the_archive(case: Retiring) -> None:
    chain, events = await case.chain(0, 12)
    await case.mark(events, 10, part=await case.part())
    await purged(case)
    assert [await case.left(chain.workspace_id, table) for table in TABLES] == [[11, 12], [11, 12], list(range(1, 13)), [11, 12]]


async def test_the_company_is_told_what_was_removed(case: Retiring) -> None:
    chain, events = await case.chain(0, 12)
    part = await case.part()
    await case.mark(events, 4)
    await case.mark(events, 10, part=part, since=5)
    work = case.work(SOON)
    await purge.run(work)
    first, second = await case.entries()
    key = (await case.row("SELECT key FROM archive_part WHERE id = $1", UUID(part)))["key"]
    assert (first.metadata["fromSeq"], first.metadata["toSeq"], first.metadata["archiveKey"]) == (1, 4, None)
    assert second.metadata == {
        "workspaceId": chain.workspace_id,
        "fromSeq": 5,
        "toSeq": 10,
        "firstPrevHash": events[3].hash.hex(),
        "lastHash": events[9].hash.hex(),
        "archiveKey": key,
        "jobRunId": work.run_id,
    }
    assert (second.action, second.outcome, second.actor) == ("events.purge", "SUCCESS", {"id": "purge", "type": "job"})


async def test_nothing_goes_while_purging_is_off(case: Retiring) -> None:
    chain, events = await case.chain(0, 10)
    await case.mark(events, 10)
    assert await purged(case, purge_enabled=False) == {"events": 0, "ranges": 0}
    assert len(await case.left(chain.workspace_id)) == 10


async def test_nothing_goes_before_its_time(case: Retiring) -> None:
    """A later range whose plan kept it for a shorter time waits for the one before it."""
    chain, events = await case.chain(0, 10)
    await case.mark(events, 5, hot_until=SOON + 1)
    await case.mark(events, 10, hot_until=HOT_UNTIL, since=6)
    assert await purged(case) == {"events": 0, "ranges": 0}
    assert len(await case.left(chain.workspace_id)) == 10
    assert await purge.run(case.work(SOON + 1)) == {"events": 10, "ranges": 2}


async def test_nothing_goes_before_its_archive_is_verified(case: Retiring) -> None:
    chain, events = await case.chain(0, 10)
    part = await case.part(verified=False)
    await case.mark(events, 5)
    await case.mark(events, 10, part=part, since=6)
    assert await purged(case) == {"events": 5, "ranges": 1, "waiting_verification": 1}
    assert await case.left(chain.workspace_id) == [6, 7, 8, 9, 10]
    await case.run("UPDATE archive_range SET tiled_at = now(), purging_at = now() WHERE from_seq = 6")
    assert "not verified" in await refuses(case, chain.workspace_id, 6)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await case.pool.execute("UPDATE archive_part SET archived_at = now()")


async def test_nothing_goes_that_is_not_archived(case: Retiring) -> None:
    chain, events = await case.chain(0, 10)
    await case.mark(events, 10, part=await case.part(archived=False))
    assert await purged(case) == {"events": 0, "ranges": 0, "waiting_verification": 1}
    assert len(await case.left(chain.workspace_id)) == 10


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE source SET announced = 0", "announcement"),
        ("DELETE FROM search WHERE seq > 7", "search"),
        ("INSERT INTO webhook_head SELECT workspace_id, company_id, 7 FROM chain_head WHERE company_id = $1", "webhooks"),
    ],
)
async def test_nothing_goes_that_others_still_need(case: Retiring, statement: str, reason: str) -> None:
    """And once they have it, the rest goes without being told of again."""
    chain, events = await case.chain(0, 10)
    await case.mark(events, 10)
    await case.run(statement, *([UUID(case.company_id)] if "$1" in statement else []))
    assert await purged(case, purge_batch_rows=5) == {"events": 0 if reason == "announcement" else 5, "ranges": 0, f"waiting_{reason}": 1}
    await case.superuser.execute("UPDATE source SET announced = next_offset")
    await case.superuser.execute("DELETE FROM webhook_head")
    await case.superuser.execute(
        "INSERT INTO search SELECT workspace_id, seq, company_id, occurred_at, received_at, id, '{}' FROM events WHERE company_id = $1 "
        "ON CONFLICT DO NOTHING",
        UUID(case.company_id),
    )
    await purged(case)
    assert await case.left(chain.workspace_id) == []
    assert len(await case.entries()) == 1


async def test_one_workspace_that_waits_keeps_no_other_one(case: Retiring) -> None:
    chain, events = await case.chain(0, 10)
    other, others = await case.chain(1, 10)
    await case.mark(events, 10, part=await case.part(verified=False))
    await case.mark(others, 10)
    assert await purged(case) == {"events": 10, "ranges": 1, "waiting_verification": 1}
    assert (len(await case.left(chain.workspace_id)), await case.left(other.workspace_id)) == (10, [])


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM events WHERE workspace_id = $1 AND seq = 4",
        "UPDATE events SET hash = sha256(hash) WHERE workspace_id = $1 AND seq = 4",
        "UPDATE events SET prev_hash = sha256(hash) WHERE workspace_id = $1 AND seq = 1",
        "UPDATE events SET hash = sha256(hash) WHERE workspace_id = $1 AND seq = 10",
    ],
)
async def test_rows_that_are_not_those_marked_are_kept_for_the_auditor(case: Retiring, tampering: str) -> None:
    """And the others are purged all the same: the run fails at its end."""
    chain, events = await case.chain(0, 10)
    other, others = await case.chain(1, 10)
    await case.mark(events, 10)
    await case.mark(others, 10)
    await case.superuser.execute("SET session_replication_role = replica")
    await case.run(tampering, UUID(chain.workspace_id))
    with pytest.raises(JobFailed) as failed:
        await purged(case)
    assert failed.value.counts == {"events": 10, "ranges": 1, "refused": 1}
    assert (len(await case.left(chain.workspace_id)) >= 9, await case.left(other.workspace_id)) == (True, [])
    assert list(case.objects.keys(f"tiles/{case.company_id}/{chain.workspace_id}/")) == []


async def test_a_tile_that_is_not_ours_stops_the_purge(case: Retiring) -> None:
    chain, events = await case.chain(0, 300)
    await case.mark(events, 300)
    case.objects.put_new(case.tree(chain.workspace_id).key(0), bytes(256 * 32))
    with pytest.raises(JobFailed):
        await purged(case)
    assert len(await case.left(chain.workspace_id)) == 300
    assert "not to be purged" in await refuses(case, chain.workspace_id)


async def test_ranges_are_not_purged_out_of_order(case: Retiring) -> None:
    """Not even by one who says that all that comes before is done."""
    chain, events = await case.chain(0, 10)
    await case.mark(events, 5, 10)
    await case.run("UPDATE archive_range SET tiled_at = now(), purging_at = now()")
    assert "in their order" in await refuses(case, chain.workspace_id, 6)


@pytest.mark.parametrize("hits", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_it_goes_on_and_nothing_is_done_or_told_twice(case: Retiring, point: str, hits: int) -> None:
    chain, events = await case.chain(0, 700)
    await case.mark(events, 300, 600)
    with pytest.raises(Killed):
        await purge.run(case.work(SOON, faults=Kill(point, hits), purge_batch_rows=100))
    await purged(case, purge_batch_rows=100)
    assert await case.left(chain.workspace_id) == list(range(601, 701))
    assert case.tiles(chain.workspace_id, 1, 600) == [event.hash for event in events[:600]]
    assert await case.floor(chain.workspace_id) == (600, events[599].hash)
    assert [(entry.metadata["fromSeq"], entry.metadata["toSeq"]) for entry in await case.entries()] == [(1, 300), (301, 600)]


@pytest.mark.parametrize("seed", range(6))
async def test_however_often_it_is_killed_each_seq_is_hot_or_purged_and_its_hash_is_kept(case: Retiring, seed: int) -> None:
    """At every death: what is left begins right behind the floor, and nothing is gone that is not in tiles and told of."""
    chance = random.Random(seed)
    chains = [await case.chain(number, 900) for number in range(2)]
    for number, (_chain, events) in enumerate(chains, 1):
        ends = sorted(chance.sample(range(1, 850), 8))
        await case.mark(events, *ends[:4])
        await case.mark(events, *ends[4:], part=await case.part(number), since=ends[3] + 1)
    kills = 0
    while True:
        kill = Kill(chance.choice(POINTS), chance.choice((1, 1, 1, 2, 5)))
        try:
            await purge.run(case.work(SOON, faults=kill, purge_batch_rows=chance.choice((20, 50))))
        except Killed:
            kills += 1
        for chain, events in chains:
            await check(case, chain.workspace_id, [event.hash for event in events])
        if not await case.superuser.fetchval("SELECT count(*) FROM archive_range WHERE purged_at IS NULL"):
            break
    assert kills >= 7


async def check(case: Retiring, workspace: str, hashes: list[bytes]) -> None:
    seq, last = await case.floor(workspace) or (0, None)
    assert await case.left(workspace) == list(range(seq + 1, len(hashes) + 1))
    assert last == (hashes[seq - 1] if seq else None)
    ranges = await case.superuser.fetch("SELECT * FROM archive_range WHERE workspace_id = $1 ORDER BY from_seq", UUID(workspace))
    begun = [(row["from_seq"], row["to_seq"]) for row in ranges if row["purging_at"]]
    assert seq <= max((to for _, to in begun), default=0)
    told = [entry.metadata for entry in await case.entries() if entry.metadata["workspaceId"] == workspace]
    assert [(entry["fromSeq"], entry["toSeq"]) for entry in told] == begun
    if begun:
        assert case.tiles(workspace, 1, begun[-1][1]) == hashes[: begun[-1][1]]


async def test_two_runs_at_once_do_it_once(case: Retiring) -> None:
    """One of them lost its lease, and does not know yet."""
    chain, events = await case.chain(0, 700)
    await case.mark(events, 300, 600)
    runs = await asyncio.gather(*(purge.run(case.work(SOON, purge_batch_rows=7)) for _ in range(2)))
    assert sum(counts["events"] for counts in runs) == 600
    assert await case.left(chain.workspace_id) == list(range(601, 701))
    assert await case.floor(chain.workspace_id) == (600, events[599].hash)
    assert len(await case.entries()) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events",
        "DELETE FROM event_key",
        "DELETE FROM archive_range",
        "UPDATE archive_range SET purged_at = now()",
        "UPDATE archive_range SET hot_until = now()",
        "UPDATE archive_part SET expired_at = now()",
        "UPDATE chain_floor SET seq = 1000",
        "SELECT actor FROM events",
        "SET ROLE hyrelog_purger",
    ],
)
async def test_the_scheduler_itself_may_not(case: Retiring, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await case.pool.execute(statement)


async def test_without_the_store_nothing_goes(case: Retiring, servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, events = await case.chain(0, 10)
    await case.mark(events, 10)
    monkeypatch.setattr("ops.jobs.patience._ATTEMPTS", 1)
    case.objects = case.objects.of(settings_of_nothing(case.work(SOON).settings), REGION)
    with pytest.raises(StoreUnavailable):
        await purged(case)
    assert len(await case.left(chain.workspace_id)) == 10
    assert await case.entries() == []


async def test_it_works_its_share_of_the_time(case: Retiring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest has the database to itself for the rest of it."""
    rests: list[float] = []
    own, sleep = asyncio.current_task(), asyncio.sleep

    async def rest(seconds: float) -> None:
        if asyncio.current_task() is not own:  # tasks of the API that runs beside
            await sleep(seconds)
        else:
            rests.append(seconds)

    _chain, events = await case.chain(0, 10)
    await case.mark(events, 10)
    work = case.work(SOON, purge_batch_rows=5, purge_share=0.25)
    began = work.clock.monotonic()
    monkeypatch.setattr("ops.jobs.purge.asyncio.sleep", rest)
    await purge.run(work)
    monkeypatch.undo()
    assert len(rests) == 2
    assert 0 < sum(rests) <= 3 * (work.clock.monotonic() - began)
