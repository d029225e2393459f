"""Jobs on a real database: each run once, by one of many, made up for when missed, and begun again when its process died."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from ops.db import Pool
from ops.faults import FaultPoints
from ops.jobs.by_hand import Refused, run_once, standings
from ops.jobs.ledger import Ledger, Result, Standing
from ops.jobs.registry import JOBS, Job
from ops.jobs.scheduler import RegionScheduler, open_job_pool
from ops.jobs.work import JobFailed, LeaseLost, Run, Work
from ops.local.environment import Role, service_environ
from ops.metrics import Metrics
from ops.schedule import Schedule
from ops.settings import Settings
from schemas.topics import Region
from tests.support.commanding import Completed, run_here
from tests.support.keys import FakeClock
from tests.support.managing import Database, operator, told
from tests.support.sinking import until
from tests.support.stack import LocalStack

HOUR = 3600
_REGION = Region.US
_DAILY = "0 3 * * *"
_MICROS = 1_000_000


@pytest.fixture
def settings(servers: LocalStack) -> Settings:
    return servers.settings(Role.SCHEDULER).model_copy(update={"scheduler_poll_seconds": 0.05, "scheduler_lease_seconds": 30.0})


@pytest.fixture
def clock() -> FakeClock:
    """At midnight."""
    clock = FakeClock()
    clock.now = 20_000.0 * 24 * HOUR
    return clock


@pytest.fixture
def name() -> str:
    """Of a job that no other test knows."""
    return f"job-{uuid4().hex}"


class _Schedulers:
    """Several of them beside each other, with the same jobs."""

    def __init__(self, settings: Settings, clock: FakeClock, exits: AsyncExitStack) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self._settings = settings
        self._clock = clock
        self._exits = exits

    async def start(
        self, jobs: Mapping[str, Run], count: int = 1, *, region: Region = _REGION, settings: Settings | None = None
    ) -> list[RegionScheduler]:
        described = {name: Job(_DAILY, run) for name, run in jobs.items()}
        started = []
        for _ in range(count):
            one = RegionScheduler(
                settings or self._settings, region, described, metrics=self.metrics, clock=self._clock, faults=FaultPoints(None)
            )
            started.append(await self._exits.enter_async_context(one))
        return started

    def value(self, metric: str, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"region": "US", "job": name, **labels})


@pytest.fixture
async def schedulers(settings: Settings, clock: FakeClock) -> AsyncIterator[_Schedulers]:
    async with AsyncExitStack() as exits:
        yield _Schedulers(settings, clock, exits)


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    async with await open_job_pool(settings, _REGION, 2) as pool:
        yield pool


def _ledger(pool: Pool, clock: FakeClock, holder: str = "another") -> Ledger:
    return Ledger(pool, _REGION, clock=clock, holder=holder, lease_seconds=30.0)


async def _standing(settings: Settings, clock: FakeClock, name: str) -> Standing | None:
    return next((each for each in await standings(settings, _REGION, clock=clock) if each.name == name), None)


async def _until(settings: Settings, clock: FakeClock, name: str, condition: Callable[[Standing], bool]) -> Standing:
    found: list[Standing] = []

    async def holds() -> bool:
        standing = await _standing(settings, clock, name)
        found[:] = [standing] if standing else []
        return standing is not None and condition(standing)

    await until(holds)
    return found[0]


async def _runs(superuser: Database, name: str) -> list[tuple[str | None, bool]]:
    rows = await superuser.fetch("SELECT result, by_hand FROM job_run WHERE name = $1 ORDER BY started_at, id", name)
    return [(row[0], row[1]) for row in rows]


def _counting(counted: list[str], does: Callable[[Work], Awaitable[object]] | None = None) -> Run:
    async def run(work: Work) -> dict[str, int]:
        counted.append(work.run_id)
        if does is not None:
            await does(work)
        return {"done": len(counted)}

    return run


async def test_a_missed_job_is_made_up_for_once_by_one_of_many(
    schedulers: _Schedulers, settings: Settings, clock: FakeClock, superuser: Database, name: str
) -> None:
    counted: list[str] = []
    await schedulers.start({name: _counting(counted)}, count=3)
    planned = await _until(settings, clock, name, lambda each: each.next_run_at == round((clock.now + 3 * HOUR) * 1e6))
    assert planned.last_result is None
    clock.now += 5 * 24 * HOUR
    done = await _until(settings, clock, name, lambda each: each.last_result is not None)
    assert (done.last_result, done.last_detail, done.holder) == ("SUCCEEDED", {"done": 1}, None)
    assert done.next_run_at == round((clock.now + 3 * HOUR) * 1e6)
    assert await _runs(superuser, name) == [("SUCCEEDED", False)]
    assert len(counted) == 1
    assert schedulers.value("hyrelog_job_runs_total", name, result="SUCCEEDED") == 1
    await until(_true(lambda: schedulers.value("hyrelog_job_last_success_timestamp_seconds", name) == clock.now))
    assert schedulers.value("hyrelog_job_overdue_seconds", name) == 0


def _true(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


async def test_a_job_that_fails_stops_no_other_and_is_tried_again_soon(
    schedulers: _Schedulers, settings: Settings, clock: FakeClock, superuser: Database, name: str
) -> None:
    """A day later would be late, and in silence would be worse."""
    counted: list[str] = []
    good = f"{name}-good"
    outcomes = iter([RuntimeError("the disk is full"), JobFailed("one is broken", {"broken": 1}), None])

    async def fail(_work: Work) -> None:
        error = next(outcomes)
        if error is not None:
            raise error

    await schedulers.start({name: _counting(counted, fail), good: _counting([])})
    await _until(settings, clock, good, lambda _each: True)
    clock.now += 3 * HOUR
    failed = await _until(settings, clock, name, lambda each: each.last_result is not None)
    assert (failed.last_result, failed.last_detail) == ("FAILED", {"error": "RuntimeError: the disk is full"})
    assert failed.next_run_at == round((clock.now + 900) * 1e6)
    await _until(settings, clock, good, lambda each: each.last_result == "SUCCEEDED")
    await until(_true(lambda: schedulers.value("hyrelog_job_failing", name) == 1))
    clock.now += 900
    again = await _until(settings, clock, name, lambda each: (each.last_detail or {}).get("broken") == 1)
    assert again.last_result == "FAILED"
    clock.now += 900
    await _until(settings, clock, name, lambda each: each.last_result == "SUCCEEDED")
    await until(_true(lambda: schedulers.value("hyrelog_job_failing", name) == 0))
    assert [result for result, _ in await _runs(superuser, name)] == ["FAILED", "FAILED", "SUCCEEDED"]


async def test_what_a_dead_process_began_is_begun_again_as_soon_as_its_lease_is_over(
    schedulers: _Schedulers, settings: Settings, clock: FakeClock, superuser: Database, pool: Pool, name: str
) -> None:
    dead, counted = _ledger(pool, clock), list[str]()
    await dead.plan({name: Schedule(_DAILY)})
    clock.now += 3 * HOUR
    run_id = await dead.claim(name)
    assert run_id is not None
    await schedulers.start({name: _counting(counted)})
    await until(_true(lambda: schedulers.value("hyrelog_job_overdue_seconds", name) is not None))
    assert counted == []
    clock.now += 31
    await _until(settings, clock, name, lambda each: each.last_result == "SUCCEEDED")
    assert [result for result, _ in await _runs(superuser, name)] == ["LOST", "SUCCEEDED"]
    assert not await dead.beat(name, run_id)
    assert not await dead.finish(name, run_id, Result.FAILED, {}, 0)


async def test_a_run_whose_lease_is_lost_is_stopped_and_says_nothing(
    schedulers: _Schedulers, settings: Settings, clock: FakeClock, superuser: Database, pool: Pool, name: str
) -> None:
    """It was frozen, say: its job is another one's by now."""
    ended: list[type[BaseException]] = []

    async def hang(work: Work) -> None:
        try:
            while True:
                await asyncio.sleep(0.02)
                await work.beat()
        except BaseException as error:
            ended.append(type(error))
            raise

    await schedulers.start({name: _counting([], hang)})
    await _until(settings, clock, name, lambda _each: True)
    clock.now += 3 * HOUR
    await _until(settings, clock, name, lambda each: each.is_running(clock.micros()))
    await superuser.execute("UPDATE job SET lease_until = to_timestamp(0) WHERE name = $1", name)
    taken = await _ledger(pool, clock).claim(name)
    assert taken is not None
    clock.now += 20
    await until(_true(lambda: bool(ended)))
    assert ended == [LeaseLost]
    standing = await _standing(settings, clock, name)
    assert standing is not None
    assert (standing.holder, standing.last_result) == ("another", None)
    assert await _ledger(pool, clock).finish(name, taken, Result.SUCCEEDED, {}, None)


async def test_a_process_that_ends_lets_the_next_one_begin_at_once(
    settings: Settings, clock: FakeClock, superuser: Database, name: str
) -> None:
    started = asyncio.Event()

    async def hang(_work: Work) -> None:
        started.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as exits:
        schedulers = _Schedulers(settings, clock, exits)
        await schedulers.start({name: _counting([], hang)})
        await _until(settings, clock, name, lambda _each: True)
        clock.now += 3 * HOUR
        await asyncio.wait_for(started.wait(), 30)
    clock.now += 1
    async with AsyncExitStack() as exits:
        await _Schedulers(settings, clock, exits).start({name: _counting([])})
        await _until(settings, clock, name, lambda each: each.last_result == "SUCCEEDED")
    assert [result for result, _ in await _runs(superuser, name)] == ["STOPPED", "SUCCEEDED"]


async def test_a_region_that_is_away_delays_no_other(
    schedulers: _Schedulers, settings: Settings, clock: FakeClock, superuser: Database, name: str
) -> None:
    away = settings.model_copy(update={"database_url_eu": SecretStr("postgresql://nobody@127.0.0.1:1/nothing")})
    (european,) = await schedulers.start({name: _counting([])}, region=Region.EU, settings=away)
    await schedulers.start({name: _counting([])})
    await _until(settings, clock, name, lambda _each: True)
    clock.now += 3 * HOUR
    await _until(settings, clock, name, lambda each: each.last_result == "SUCCEEDED")
    with pytest.raises(TimeoutError):
        await european.check()


async def test_another_schedule_counts_from_the_next_start_and_forgets_nothing_that_is_due(
    settings: Settings, clock: FakeClock, pool: Pool, name: str
) -> None:
    ledger = _ledger(pool, clock)
    await ledger.plan({name: Schedule(_DAILY)})
    await ledger.plan({name: Schedule("0 5 * * *")}, only_new=True)
    assert (await _until(settings, clock, name, lambda _each: True)).schedule == _DAILY
    await ledger.plan({name: Schedule("0 5 * * *")})
    due = round((clock.now + 5 * HOUR) * 1e6)
    assert (await _until(settings, clock, name, lambda each: each.schedule == "0 5 * * *")).next_run_at == due
    clock.now += 6 * HOUR
    await ledger.plan({name: Schedule("0 7 * * *")})
    assert (await _until(settings, clock, name, lambda each: each.schedule == "0 7 * * *")).next_run_at == due


async def test_by_hand_a_job_runs_here_and_now_and_the_audit_is_told(
    settings: Settings, clock: FakeClock, superuser: Database, pool: Pool, name: str
) -> None:
    seen: list[tuple[int, bool]] = []

    async def look(work: Work) -> None:
        seen.append((work.clock.micros(), work.is_by_hand))

    jobs = {name: Job(_DAILY, _counting([], look))}
    as_of = 1_900_000_000 * _MICROS
    ending = await run_once(settings, _REGION, name, clock=clock, jobs=jobs, as_of=as_of)
    assert (ending.result, ending.detail, seen) == (Result.SUCCEEDED, {"done": 1}, [(as_of, True)])
    standing = await _until(settings, clock, name, lambda _each: True)
    assert (standing.last_result, standing.last_finished_at) == ("SUCCEEDED", clock.micros())
    assert standing.next_run_at == round((clock.now + 3 * HOUR) * 1e6)
    assert await _runs(superuser, name) == [("SUCCEEDED", True)]
    entry = next(each for each in reversed(await told(superuser, await operator(superuser))) if each.target["id"] == name)
    assert (entry.action, entry.outcome, entry.target["type"]) == ("job.run", "SUCCESS", "job")
    assert entry.metadata == {"region": "US", "asOf": "2030-03-17T17:46:40.000000Z"}

    assert await _ledger(pool, clock).claim(name, is_by_hand=True) is not None
    with pytest.raises(Refused, match="somebody else"):
        await run_once(settings, _REGION, name, clock=clock, jobs=jobs)


async def test_time_is_moved_on_demos_alone(servers: LocalStack, settings: Settings, clock: FakeClock, name: str) -> None:
    """With a time of one's choice everything is past its retention."""
    jobs = {name: Job(_DAILY, _counting([]))}
    owner = await asyncpg.connect(servers.superuser_url(Region.AU))
    try:
        await owner.execute("UPDATE database_region SET is_demo = false")
        with pytest.raises(Refused, match="demo"):
            await run_once(settings, Region.AU, name, clock=clock, jobs=jobs, as_of=clock.micros())
        assert (await run_once(settings, Region.AU, name, clock=clock, jobs=jobs)).result is Result.SUCCEEDED
    finally:
        await owner.execute("UPDATE database_region SET is_demo = true")
        await owner.close()


def _hyrelog(servers: LocalStack, *arguments: str) -> Completed:
    """Run the command in the scheduler's role."""
    return run_here(servers.state.root, arguments, service_environ(servers.state, Role.SCHEDULER) | {"COLUMNS": "200"})


def test_the_command_runs_a_job_and_shows_how_it_stands(servers: LocalStack) -> None:
    ran = _hyrelog(servers, "jobs", "run", "archive-verification", "--region", "uk")
    assert (ran.code, ran.out) == (0, "UK archive-verification: SUCCEEDED: parts 0, events 0, failed 0\n")
    shown = json.loads(_hyrelog(servers, "jobs", "--region", "uk", "--json").out)
    (found,) = [each for each in shown if each["name"] == "archive-verification"]
    assert (found["region"], found["lastResult"], found["running"]) == ("UK", "SUCCEEDED", None)
    assert found["nextRunAt"] > found["lastFinishedAt"]
    table = _hyrelog(servers, "jobs", "--region", "uk").out
    assert "archive-verification" in table
    assert "succeeded" in table


def test_several_jobs_are_run_in_the_order_in_which_they_are_named(servers: LocalStack) -> None:
    names = ("purge", "archival")
    ran = _hyrelog(servers, "jobs", "run", *names, "--region", "uk", "--region", "au")
    assert ran.code == 0
    assert [line.split(":")[0] for line in ran.out.splitlines()] == [f"{region} {name}" for name in names for region in ("UK", "AU")]


def test_an_unknown_job_is_answered_with_those_that_there_are(servers: LocalStack) -> None:
    refused = _hyrelog(servers, "jobs", "run", "purge", "purgatory")
    assert (refused.code, refused.out) == (2, "")
    assert all(name in refused.err for name in JOBS)


def test_a_time_without_an_offset_is_none(servers: LocalStack) -> None:
    assert _hyrelog(servers, "jobs", "run", next(iter(JOBS)), "--as-of", "2026-01-31").code == 2
