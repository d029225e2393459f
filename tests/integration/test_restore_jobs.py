"""Carrying restore requests out: each object is asked for once, whoever dies or races, and is readable for as long as it was asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from ops.faults import FaultPoints
from ops.jobs import expiry
from ops.jobs.restore import checker, expiration, initiator, steps
from ops.jobs.restore.gauge import RestoreGauge
from ops.jobs.work import JobFailed, Run
from ops.local.environment import Role
from ops.objects import Denied, NoCapacity, StoreUnavailable, Unsupported
from schemas.restore import State
from schemas.retention import DAY_MICROS
from tests.support.chains import BASE_TIME
from tests.support.restoring import Time, WatchedGlacier, cold_part, put_request
from tests.support.retiring import ARCHIVE_UNTIL, REGION, Kill, Killed, Retiring, retiring
from tests.support.stack import LocalStack

START = BASE_TIME + 200 * DAY_MICROS
MINUTE = 60_000_000
READY = START + 2 * MINUTE
UNTIL = READY + 7 * DAY_MICROS


@dataclass
class Stage:
    """A company whose archives are in a simulated Glacier, and the time."""

    case: Retiring
    glacier: WatchedGlacier
    time: Time

    async def request(self, state: State = State.APPROVED, number: int = 1, **more: Any) -> str:
        """One for a cold part."""
        return await put_request(self.case.superuser, self.case.company_id, *await cold_part(self.case, number), state, **more)

    async def run(self, job: Run, at: int | None = None, faults: FaultPoints | None = None) -> dict[str, int]:
        """One run."""
        self.time.now = self.time.now if at is None else at
        return await job(self.case.work(self.time.now, faults=faults))

    async def row(self, request: str) -> dict[str, Any]:
        """As it stands."""
        return {**await self.case.row("SELECT * FROM restore_request WHERE id = $1", UUID(request))}

    async def state(self, request: str) -> State:
        return State((await self.row(request))["state"])

    async def part(self, request: str) -> dict[str, Any]:
        """Of a request's part, what tells whether it can be read."""
        query = "SELECT is_cold_archived, cold_archive_key, restored_until FROM archive_part WHERE key = $1"
        return {**await self.case.row(query, (await self.row(request))["archive_key"])}

    async def told(self) -> list[str]:
        """The company's audit."""
        return [entry.action for entry in await self.case.entries()]

    async def restored(self) -> str:
        """A request that is complete."""
        request = await self.request()
        await self.run(initiator.run, START)
        await self.run(checker.run, READY)
        return request


@pytest.fixture
async def stage(servers: LocalStack) -> AsyncIterator[Stage]:
    async with retiring(servers) as case:
        time = Time(START)
        glacier = WatchedGlacier(servers.settings(Role.SCHEDULER), time)
        case.objects = glacier
        yield Stage(case, glacier, time)


async def test_what_was_approved_is_asked_for(stage: Stage) -> None:
    request = await stage.request()
    assert await stage.run(initiator.run) == {"started": 1, "completed": 0, "failed": 0, "waiting": 0}
    row = await stage.row(request)
    assert (row["state"], row["initiated_at"], stage.glacier.asked) == ("IN_PROGRESS", START, [row["archive_key"]])
    (entry,) = await stage.case.entries()
    assert (entry.action, entry.outcome, entry.actor) == ("restore.initiate", "SUCCESS", {"id": "restore-initiator", "type": "job"})
    assert entry.target == {"id": request, "type": "restore-request"}
    expected = {"archiveId": str(row["part_id"]), "archiveKey": row["archive_key"], "tier": "STANDARD", "days": 7}
    assert expected.items() <= entry.metadata.items()


@pytest.mark.parametrize("state", sorted(set(State) - {State.APPROVED, State.INITIATING}))
async def test_nothing_else_is(stage: Stage, state: State) -> None:
    request = await stage.request(state)
    await stage.run(initiator.run)
    assert (stage.glacier.asked, await stage.state(request), await stage.told()) == ([], state, [])


async def test_once_it_is_there_its_part_is_warm(stage: Stage) -> None:
    request = await stage.request()
    await stage.run(initiator.run)
    assert await stage.run(checker.run, READY - 1) == {"completed": 0, "failed": 0, "ongoing": 1, "unseen": 0, "expired": 0}
    assert (await stage.row(request))["checked_at"] == READY - 1
    assert (await stage.part(request))["is_cold_archived"]
    assert await stage.run(checker.run, READY) == {"completed": 1, "failed": 0, "ongoing": 0, "unseen": 0, "expired": 0}
    row = await stage.row(request)
    assert (row["state"], row["completed_at"], row["restored_until"]) == ("COMPLETED", READY, UNTIL)
    assert await stage.part(request) == {"is_cold_archived": False, "cold_archive_key": None, "restored_until": UNTIL}
    assert await stage.told() == ["restore.initiate", "restore.complete"]


async def test_when_its_time_is_over_its_part_is_cold_again(stage: Stage) -> None:
    request = await stage.restored()
    key = (await stage.row(request))["archive_key"]
    assert await stage.run(expiration.run, UNTIL - 1) == {"requests": 0}
    assert await stage.run(expiration.run, UNTIL) == {"requests": 1}
    row = await stage.row(request)
    assert (row["state"], row["expired_at"], row["restored_until"]) == ("EXPIRED", UNTIL, UNTIL)
    assert await stage.part(request) == {"is_cold_archived": True, "cold_archive_key": key, "restored_until": None}
    assert await stage.told() == ["restore.initiate", "restore.complete", "restore.expire"]


async def test_what_is_over_can_be_asked_for_again_before_the_next_day(stage: Stage) -> None:
    """Nothing reads the archive any more from then on: whoever looks at requests ends this one too."""
    request = await stage.restored()
    assert (await stage.run(checker.run, UNTIL))["expired"] == 1
    assert await stage.state(request) is State.EXPIRED


async def test_what_the_store_has_not_moved_can_be_read_at_once(stage: Stage) -> None:
    """By its age the part is cold; the store is not that far."""
    part = await stage.case.part(2)
    key: str = await stage.case.superuser.fetchval("SELECT key FROM archive_part WHERE id = $1", UUID(part))
    await stage.case.run("UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key WHERE id = $1", UUID(part))
    request = await put_request(stage.case.superuser, stage.case.company_id, part, key, State.APPROVED)
    assert (await stage.run(initiator.run))["completed"] == 1
    assert (await stage.state(request), (await stage.part(request))["restored_until"]) == (State.COMPLETED, START + 7 * DAY_MICROS)
    assert await stage.told() == ["restore.initiate", "restore.complete"]


async def test_a_store_without_cold_storage_reads_everything_at_once(stage: Stage) -> None:
    request = await stage.request()
    stage.glacier.refusal = Unsupported("RestoreObject")
    await stage.run(initiator.run)
    assert await stage.state(request) is State.COMPLETED


async def test_a_tier_that_the_store_has_no_capacity_for_is_given_up_in_the_end(stage: Stage) -> None:
    """Its archive could not be asked for by another tier as long as the request goes on."""
    request = await stage.request()
    stage.glacier.refusal = NoCapacity("RestoreObject: GlacierExpeditedRetrievalNotAvailable")
    with pytest.raises(JobFailed):
        await stage.run(initiator.run)
    row = await stage.row(request)
    late = row["initiated_at"] + (2 * row["latest_seconds"] + 1800) * 1_000_000
    with pytest.raises(JobFailed):
        await stage.run(initiator.run, late - 1)
    assert (await stage.run(initiator.run, late))["failed"] == 1
    row = await stage.row(request)
    assert (row["state"], row["reason"]) == ("FAILED", "the store has no capacity for STANDARD now")


async def test_what_is_not_there_fails(stage: Stage) -> None:
    request = await stage.request()
    stage.glacier.delete((await stage.row(request))["archive_key"])
    assert (await stage.run(initiator.run))["failed"] == 1
    assert ((await stage.row(request))["reason"], await stage.told()) == (
        "the store has no such object",
        ["restore.initiate", "restore.fail"],
    )


@pytest.mark.parametrize("refusal", [StoreUnavailable("RestoreObject: GlacierExpeditedRetrievalNotAvailable"), Denied("RestoreObject: x")])
async def test_what_the_store_refuses_is_asked_for_again_and_told_loudly(stage: Stage, refusal: Exception) -> None:
    request, other = await stage.request(), await stage.request(number=2)
    stage.glacier.refusal = refusal
    with pytest.raises(JobFailed, match="2 requests wait for the store: RestoreObject") as caught:
        await stage.run(initiator.run)
    assert caught.value.counts == {"started": 0, "completed": 0, "failed": 0, "waiting": 2}
    assert {await stage.state(request), await stage.state(other)} == {State.INITIATING}
    stage.glacier.refusal = None
    assert (await stage.run(initiator.run))["started"] == 2
    assert await stage.told() == ["restore.initiate", "restore.initiate"]


async def test_what_can_not_be_looked_at_is_looked_at_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await stage.request()
    await stage.run(initiator.run)

    def away(_key: str) -> None:
        raise StoreUnavailable("HeadObject: SlowDown")

    monkeypatch.setattr(stage.glacier, "head", away)
    with pytest.raises(JobFailed, match="1 requests could not be looked at: HeadObject: SlowDown"):
        await stage.run(checker.run, READY)
    assert await stage.state(request) is State.IN_PROGRESS


async def test_what_was_over_before_anybody_looked_failed(stage: Stage) -> None:
    request = await stage.request()
    await stage.run(initiator.run)
    assert (await stage.run(checker.run, UNTIL))["failed"] == 1
    assert (await stage.row(request))["reason"] == checker.LOST


@pytest.mark.parametrize("point", ["restore_before_commit", "restore_claimed", "restore_asked", "restore_recorded"])
async def test_killed_while_it_asks_the_next_run_does_not_ask_twice(stage: Stage, point: str) -> None:
    request = await stage.request()
    with pytest.raises(Killed):
        await stage.run(initiator.run, faults=Kill(point))
    before = await stage.state(request)
    assert before is {"restore_before_commit": State.APPROVED, "restore_recorded": State.IN_PROGRESS}.get(point, State.INITIATING)
    await stage.run(initiator.run)
    assert (await stage.state(request), len(stage.glacier.asked)) == (State.IN_PROGRESS, 1)
    assert await stage.told() == ["restore.initiate"]


async def test_nor_when_it_is_there_meanwhile(stage: Stage) -> None:
    request = await stage.request()
    with pytest.raises(Killed):
        await stage.run(initiator.run, faults=Kill("restore_asked"))
    await stage.run(initiator.run, READY + MINUTE)
    await stage.run(checker.run)
    row = await stage.row(request)
    assert (row["state"], row["restored_until"], len(stage.glacier.asked)) == ("COMPLETED", UNTIL, 1)


@pytest.mark.parametrize("point", ["restore_looked", "restore_before_commit", "restore_recorded"])
async def test_killed_while_it_looks_the_next_run_goes_on(stage: Stage, point: str) -> None:
    request = await stage.request()
    await stage.run(initiator.run)
    with pytest.raises(Killed):
        await stage.run(checker.run, READY, Kill(point))
    await stage.run(checker.run)
    assert (await stage.state(request), (await stage.part(request))["restored_until"]) == (State.COMPLETED, UNTIL)
    assert await stage.told() == ["restore.initiate", "restore.complete"]


@pytest.mark.parametrize("point", ["restore_before_commit", "restore_recorded"])
async def test_killed_at_the_end_the_next_run_ends_it(stage: Stage, point: str) -> None:
    request = await stage.restored()
    with pytest.raises(Killed):
        await stage.run(expiration.run, UNTIL, Kill(point))
    await stage.run(expiration.run)
    assert (await stage.state(request), (await stage.part(request))["is_cold_archived"]) == (State.EXPIRED, True)
    assert await stage.told() == ["restore.initiate", "restore.complete", "restore.expire"]


@pytest.mark.parametrize("state", [State.APPROVED, State.INITIATING])
async def test_of_two_workers_at_once_one_asks(stage: Stage, state: State) -> None:
    """The second one comes while the first one is at the store."""
    request = await stage.request(state)
    is_asking, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        is_asking.set()
        assert may_go_on.wait(20)

    stage.glacier.before = hold
    first = asyncio.create_task(stage.run(initiator.run))
    assert await asyncio.to_thread(is_asking.wait, 20)
    second = await stage.run(initiator.run)
    may_go_on.set()
    assert (second["started"], (await first)["started"], len(stage.glacier.asked)) == (0, 1, 1)
    assert await stage.state(request) is State.IN_PROGRESS
    assert len(await stage.told()) == (state is State.APPROVED)


async def test_two_workers_side_by_side_move_nothing_twice(stage: Stage) -> None:
    requests = [await stage.request(number=number) for number in range(1, 6)]
    for job, at in ((initiator.run, START), (checker.run, READY), (expiration.run, UNTIL)):
        stage.time.now = at
        await asyncio.gather(stage.run(job), stage.run(job))
    assert {await stage.state(request) for request in requests} == {State.EXPIRED}
    assert len(stage.glacier.asked) == 5
    told = await stage.told()
    assert {action: told.count(action) for action in told} == dict.fromkeys(("restore.initiate", "restore.complete", "restore.expire"), 5)


@pytest.mark.parametrize("state", [State.PENDING, State.APPROVED, State.INITIATING, State.IN_PROGRESS, State.COMPLETED])
async def test_with_its_part_a_request_ends(stage: Stage, state: State) -> None:
    """Whoever waits for it is told, and nothing is fetched that is being removed."""
    request = await stage.request(state)
    await stage.case.run("UPDATE archive_part SET expiring_at = archived_at")
    for job in (initiator.run, checker.run, expiration.run):
        await stage.run(job)
    row = await stage.row(request)
    if state is State.COMPLETED:
        assert (row["state"], await stage.told()) == ("EXPIRED", ["restore.expire"])
    else:
        assert (row["state"], row["reason"], await stage.told()) == ("FAILED", steps.GONE, ["restore.fail"])
    assert stage.glacier.asked == []


async def test_a_restored_part_expires_as_any_other_one(stage: Stage) -> None:
    request = await stage.restored()
    key = (await stage.row(request))["archive_key"]
    assert (await stage.run(expiry.run, ARCHIVE_UNTIL + 1))["parts"] == 1
    await stage.run(expiration.run)
    assert (await stage.state(request), stage.glacier.head(key)) == (State.EXPIRED, None)


async def test_page_by_page_all_are_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PAGE_REQUESTS", 1)
    for number in range(1, 4):
        await stage.request(number=number)
    assert (await stage.run(initiator.run))["started"] == 3
    assert (await stage.run(checker.run, READY))["completed"] == 3
    assert (await stage.run(expiration.run, UNTIL))["requests"] == 3


async def test_how_requests_stand_is_told_and_which_ones_take_too_long(stage: Stage) -> None:
    late = START - 11 * 3600 * 1_000_000  # standard: five hours, twice, and half an hour
    await stage.request(State.PENDING, 1)
    await stage.request(State.IN_PROGRESS, 2, initiated_at=late)
    await stage.request(State.IN_PROGRESS, 3, initiated_at=START - 10 * 3600 * 1_000_000)
    await stage.request(State.COMPLETED, 4, initiated_at=late)
    gauge = RestoreGauge(stage.case.pool, stage.case.metrics, REGION)
    await gauge.tell(START)

    def value(name: str, **labels: str) -> float | None:
        return stage.case.metrics.registry.get_sample_value(f"hyrelog_archive_{name}", {"region": REGION.value, **labels})

    states = ("PENDING", "APPROVED", "INITIATING", "IN_PROGRESS", "COMPLETED")
    assert [value("restore_requests", state=state) for state in states] == [1, 0, 0, 2, 1]
    assert value("late_restores") == 1
