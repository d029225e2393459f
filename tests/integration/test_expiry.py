"""The end of an archive: both objects go, with every version, unless a lock keeps them; and which parts are cold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from ops.jobs import cold, expiry, purge
from ops.objects import Lock, client
from schemas.retention import DAY_MICROS
from tests.support.chains import BASE_TIME
from tests.support.retiring import ARCHIVE_UNTIL, HOT_UNTIL, Kill, Killed, Retiring, retiring
from tests.support.stack import LocalStack

LATER = ARCHIVE_UNTIL + 1
LONG_FROM_NOW = 4_102_444_800_000_000  # 2100-01-01 UTC


@pytest.fixture
async def case(servers: LocalStack) -> AsyncIterator[Retiring]:
    async with retiring(servers) as found:
        yield found


async def expired(case: Retiring, **settings: Any) -> dict[str, int]:
    return await expiry.run(case.work(LATER, **settings))


async def archived_and_purged(case: Retiring, lock: Lock | None = None) -> str:
    """A part of all events of a workspace, which are no longer hot."""
    _chain, events = await case.chain(0, 10)
    part = await case.part(lock=lock)
    await case.mark(events, 10, part=part)
    await purge.run(case.work(HOT_UNTIL + 1))
    return part


def objects(case: Retiring) -> list[str]:
    return list(case.objects.keys(f"archives/{case.company_id}/"))


async def part_times(case: Retiring, part: str) -> tuple[bool, bool]:
    """Whether it is expiring, and whether it has expired."""
    row = await case.row("SELECT expiring_at, expired_at FROM archive_part WHERE id = $1", UUID(part))
    return row["expiring_at"] is not None, row["expired_at"] is not None


async def test_past_its_retention_an_archive_goes_and_the_hashes_stay(case: Retiring) -> None:
    part = await archived_and_purged(case)
    workspace = case.workspaces[0]
    hashes = case.tiles(workspace, 1, 10)
    aliases = await case.left(workspace, "event_alias")
    assert await expired(case) == {"parts": 1, "locked": 0}
    assert (objects(case), await part_times(case, part)) == ([], (True, True))
    assert (aliases, await case.left(workspace, "event_alias")) == (list(range(1, 11)), [])
    assert case.tiles(workspace, 1, 10) == hashes


async def test_no_version_of_the_salts_stays(case: Retiring) -> None:
    """An erasure leaves the object before it as an older version."""
    await archived_and_purged(case)
    raw = client(case.work(LATER).settings)
    salts = next(key for key in objects(case) if key.endswith(".keys.gz"))
    raw.put_object(Bucket=case.objects.bucket, Key=salts, Body=b"fewer salts")
    await expired(case)
    left = raw.list_object_versions(Bucket=case.objects.bucket, Prefix=f"archives/{case.company_id}/")
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []


async def test_the_company_is_told_what_was_removed(case: Retiring) -> None:
    part = await archived_and_purged(case)
    row = await case.row("SELECT key, sha256 FROM archive_part WHERE id = $1", UUID(part))
    work = case.work(LATER)
    await expiry.run(work)
    _purge, entry = await case.entries()
    assert (entry.action, entry.outcome, entry.actor) == ("archive.expire", "SUCCESS", {"id": "archive-expiry", "type": "job"})
    assert entry.metadata == {
        "archiveKey": row["key"],
        "sha256": row["sha256"].hex(),
        "ranges": [{"workspaceId": case.workspaces[0], "fromSeq": 1, "toSeq": 10}],
        "jobRunId": work.run_id,
    }


async def test_a_part_of_very_many_runs_is_told_in_several_entries(case: Retiring, monkeypatch: pytest.MonkeyPatch) -> None:
    _chain, events = await case.chain(0, 10)
    await case.mark(events, *range(1, 11), part=await case.part())
    monkeypatch.setattr(expiry, "_ENTRY_RUNS", 4)
    await expired(case, purge_enabled=False)
    told = [entry.metadata["ranges"] for entry in await case.entries()]
    assert [len(ranges) for ranges in told] == [4, 4, 2]
    assert [run["fromSeq"] for ranges in told for run in ranges] == list(range(1, 11))


async def test_nothing_goes_before_its_time(case: Retiring) -> None:
    part = await archived_and_purged(case)
    assert await expiry.run(case.work(ARCHIVE_UNTIL)) == {"parts": 0, "locked": 0}
    assert (len(objects(case)), await part_times(case, part)) == (2, (False, False))


async def test_while_its_events_are_hot_an_archive_waits(case: Retiring) -> None:
    """Unless they are to stay there: then nothing would ever expire."""
    chain, events = await case.chain(0, 10)
    await case.mark(events, 10, part=await case.part())
    assert await expired(case) == {"parts": 0, "locked": 0}
    assert await expired(case, purge_enabled=False) == {"parts": 1, "locked": 0}
    assert (objects(case), len(await case.left(chain.workspace_id))) == ([], 10)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
async def test_what_object_lock_keeps_stays_whole(case: Retiring, mode: str) -> None:
    """With what opens it, for whoever had it locked; but we read it no more."""
    part = await archived_and_purged(case, Lock(mode, LONG_FROM_NOW))
    for _ in range(2):
        assert await expired(case) == {"parts": 0, "locked": 1}
    assert (len(objects(case)), await part_times(case, part)) == (2, (True, False))
    assert case.metrics.registry.get_sample_value("hyrelog_archive_locked_parts", {"region": "AU"}) == 1
    assert len(await case.entries()) == 2


async def test_what_was_locked_goes_once_the_lock_is_over(case: Retiring) -> None:
    part = await archived_and_purged(case)
    raw, which = client(case.work(LATER).settings), {"Bucket": case.objects.bucket, "Key": objects(case)[0]}
    raw.put_object_legal_hold(**which, LegalHold={"Status": "ON"})
    held = await expired(case)
    raw.put_object_legal_hold(**which, LegalHold={"Status": "OFF"})
    assert (held, await expired(case)) == ({"parts": 0, "locked": 1}, {"parts": 1, "locked": 0})
    assert (objects(case), await part_times(case, part)) == ([], (True, True))


async def test_a_locked_part_keeps_no_other_one(case: Retiring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_PAGE_PARTS", 1)
    await case.part(1, lock=Lock("GOVERNANCE", LONG_FROM_NOW))
    for number in (2, 3):
        await case.part(number, archive_until=ARCHIVE_UNTIL - 3 + number)
    assert await expired(case) == {"parts": 2, "locked": 1}


@pytest.mark.parametrize("point", ["expiry_before_record", "expiry_recorded", "expiry_events_removed", "expiry_removed"])
async def test_killed_anywhere_it_goes_on_and_nothing_is_told_twice(case: Retiring, point: str) -> None:
    part = await archived_and_purged(case)
    with pytest.raises(Killed):
        await expiry.run(case.work(LATER, faults=Kill(point)))
    assert await expired(case) == {"parts": 1, "locked": 0}
    assert (objects(case), await part_times(case, part)) == ([], (True, True))
    assert [entry.action for entry in await case.entries()] == ["events.purge", "archive.expire"]


async def marked(case: Retiring, days: float) -> int:
    """How many parts are marked so many days after they were archived."""
    return (await cold.run(case.work(BASE_TIME + round(days * DAY_MICROS))))["parts"]


async def test_a_part_is_cold_once_its_object_is_so_old(case: Retiring) -> None:
    part = await case.part(cold_after_days=180)
    key = (await case.row("SELECT key FROM archive_part WHERE id = $1", UUID(part)))["key"]
    assert [await marked(case, days) for days in (179.9, 180, 180.1, 200)] == [0, 0, 1, 0]
    row = await case.row("SELECT is_cold_archived, cold_archive_key FROM archive_part WHERE id = $1", UUID(part))
    assert row == {"is_cold_archived": True, "cold_archive_key": key}


async def test_others_stay_warm(case: Retiring) -> None:
    """Those of plans without cold storage, those not archived yet, those on their way out, and those that were restored."""
    await case.part(1, cold_after_days=None)
    await case.part(2, cold_after_days=1, archived=False)
    await case.part(3, cold_after_days=1, expiring_at=BASE_TIME)
    await case.part(4, cold_after_days=1, restored_until=BASE_TIME + 20 * DAY_MICROS)
    assert await marked(case, 10) == 0
    assert await marked(case, 20) == 1
