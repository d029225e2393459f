"""Retention under kills: every job and the archive sink end by kill -9 or at a crash point, again and again, until each has done its work.

Then the whole history is looked at: hot rows and archived lines together are the events that were accepted, each seq exactly once, no
object is anybody's orphan, and every hash that left the hot table is in a tile.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from gzip import GzipFile
from io import BytesIO
from signal import SIGKILL
from typing import Any

import asyncpg
import orjson

from ops.db import use_micros
from ops.faults import ARCHIVE_POINTS, EXIT_CODE, JOB_POINTS, RETENTION_POINTS
from ops.local.environment import Role, inherited, service_environ
from ops.objects import ObjectStore
from schemas.archive import day_of, keys_key_of
from schemas.event import StoredEvent
from schemas.merkle import tile_key
from schemas.plans import PlanName
from schemas.retention import DAY_MICROS
from schemas.topics import Region
from tests.support.archiving import Superuser, event_id
from tests.support.chains import BASE_TIME, Chain, store
from tests.support.stack import LocalStack

REGION = Region.US
DAYS = 5
EVENTS_A_DAY = 120
"""Of each workspace."""
PLANS: Sequence[tuple[PlanName, int]] = (("STARTER", 2), ("GROWTH", 1), ("FREE", 1))
"""Companies, and how many workspaces each has. The first one's plan changes in the midst of a day."""
_JOBS = ("retention-marking", "archival", "archive-verification", "purge")
_LAST_JOBS = ("cold-archive-marker", "archive-expiry")
STEP_DAYS = (8, 33, 36, 95, 125)
"""When the jobs run, in days behind the first event: what each plan keeps hot is over at another one of them."""
_POINT_CHANCE = 0.4
_KILL_CHANCE = 0.3
_KILL_SECONDS = (0.6, 2.0)
_JOB_SECONDS = 120.0
_SINK_SECONDS = 60.0
_POLL_SECONDS = 0.1
_TUNING = {
    "ARCHIVE_PART_ROWS": "100",
    "PURGE_BATCH_ROWS": "25",
    "PURGE_SHARE": "1",
    "SCHEDULER_LEASE_SECONDS": "3",
    "SINKS_SESSION_TIMEOUT_SECONDS": "6",
}
"""Small, so that there are many steps to be killed in, and short, so that who was killed is soon followed."""


_GONE = """
SELECT r.from_seq, r.to_seq FROM archive_range r LEFT JOIN archive_part p ON p.id = r.part_id
WHERE r.workspace_id = $1 AND r.purging_at IS NOT NULL AND (p.id IS NULL OR p.expiring_at IS NOT NULL)
"""
"""What was to be kept nowhere any more: it had no archive, or that one's retention is over too."""


@dataclass
class World:
    """What was accepted, by workspace, and what was done to the processes."""

    companies: list[str] = field(default_factory=list)
    accepted: dict[str, list[StoredEvent]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Retention:
    """One run on a stack's servers, whose US database and bucket are nobody else's."""

    def __init__(self, stack: LocalStack, seed: int, kills: int, steps: Sequence[int] = STEP_DAYS, chance: float = _POINT_CHANCE) -> None:
        """``kills``: so many, if there are as many processes to be killed; then the rest is left in peace."""
        self._steps = steps
        self._chance = chance
        self.world = World()
        self._stack = stack
        self._random = random.Random(seed)
        self._kills = kills
        self._environ = inherited() | {"REGIONS": REGION.value} | _TUNING

    async def run(self) -> World:
        """Accept, and let everything go its way under kills. Violations are in the world that is returned."""
        connection = await asyncpg.connect(self._stack.superuser_url(REGION))
        try:
            await use_micros(connection)
            await self._accept(connection)
            for days in self._steps:
                for job in _JOBS:
                    if job == "archival":  # it waits for the sink
                        await asyncio.gather(self._job(connection, job, days), self._sink())
                    else:
                        await self._job(connection, job, days)
                await self._check(connection)
            for job in _LAST_JOBS:
                await self._job(connection, job, 5000)
            await self._check_expired(connection)
        finally:
            await connection.close()
        return self.world

    async def _accept(self, connection: Superuser) -> None:
        for plan, workspaces in PLANS:
            tenant = self._stack.tenant(plan=plan, workspaces=workspaces)
            self.world.companies.append(str(tenant.id))
            for workspace in tenant.workspaces:
                chain = Chain(str(tenant.id), str(workspace.id), partition=len(self.world.accepted))
                events = list(self._events(chain))
                await store(connection, chain, events)
                self.world.accepted[chain.workspace_id] = events
                await _seen_by_all(connection, chain, events)
        await connection.execute(
            "INSERT INTO company_retention (company_id, since, hot_days, archive_days, cold_after_days) VALUES ($1, $2, 30, 180, NULL), "
            "($1, $3, 90, 365, 180) ON CONFLICT (company_id, since) DO NOTHING",
            *(self.world.companies[0], BASE_TIME, BASE_TIME + 2 * DAY_MICROS + DAY_MICROS // 2),
        )

    def _events(self, chain: Chain) -> Iterator[StoredEvent]:
        for number in range(DAYS * EVENTS_A_DAY):
            at = BASE_TIME + number * DAY_MICROS // EVENTS_A_DAY
            yield chain.event(id=event_id(at), at=at, received_at=at)

    async def _job(self, connection: Superuser, name: str, days: int) -> None:
        """Again and again, until it ends by itself and well."""
        at = datetime.fromtimestamp(BASE_TIME / 1e6, UTC) + timedelta(days=days)
        argv = ["-m", "ops", "jobs", "run", name, "--region", REGION.value, "--as-of", at.isoformat()]
        while (ended := await self._process(argv, Role.SCHEDULER, _points(name), name, _JOB_SECONDS)) != 0:
            if ended not in (EXIT_CODE, -SIGKILL):
                raise AssertionError(f"{name} ended with {ended}")
            async with asyncio.timeout(_JOB_SECONDS):  # the dead one's lease
                while await connection.fetchval("SELECT count(*) FROM job WHERE lease_until > now()"):
                    await asyncio.sleep(_POLL_SECONDS)

    async def _sink(self) -> None:
        """Until nothing waits that it could archive."""
        connection = await asyncpg.connect(self._stack.superuser_url(REGION))
        try:
            await self._archive(connection)
        finally:
            await connection.close()

    async def _archive(self, connection: Superuser) -> None:
        while await connection.fetchval("SELECT count(*) FROM archive_part WHERE archived_at IS NULL"):
            await self._process(["-m", "sinks", "archive"], Role.ARCHIVER, ARCHIVE_POINTS, "archive sink", _SINK_SECONDS, connection)

    async def _process(
        self, argv: Sequence[str], role: Role, points: Sequence[str], name: str, seconds: float, until: Superuser | None = None
    ) -> int:
        """A process, as it is killed; with ``until``, it is ended politely once nothing is left to archive."""
        environ = self._environ | service_environ(self._stack.state, role) | {"REGIONS": REGION.value}
        wanted, luck = self.world.kills.total() < self._kills, self._random.random()
        if wanted and luck < self._chance + _KILL_CHANCE:
            chosen = self._random.choice(points)
            environ["FAULT_POINTS"] = f"{chosen}:{self._random.choice((0.2, 1.0))}:{self._random.random()}"
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, env=environ, stdout=asyncio.subprocess.DEVNULL)
        if wanted and luck < _KILL_CHANCE:
            asyncio.get_running_loop().call_later(self._random.uniform(*_KILL_SECONDS), _kill, process)
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                if until is not None and not await until.fetchval("SELECT count(*) FROM archive_part WHERE archived_at IS NULL"):
                    process.terminate()
                    await process.wait()
                else:
                    await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=_POLL_SECONDS)
        if process.returncode in (EXIT_CODE, -SIGKILL):
            self.world.kills[name] += 1
        return process.returncode

    async def _check(self, connection: Superuser) -> None:
        """Each event is in the hot table, or in exactly one object, or in both; what is gone from both was to be kept nowhere."""
        archived = await self._archived(connection)
        for workspace_id, events in self.world.accepted.items():
            hot = {row[0]: row[1] for row in await connection.fetch("SELECT seq, hash FROM events WHERE workspace_id = $1", workspace_id)}
            gone = await connection.fetch(_GONE, workspace_id)
            floor = await connection.fetchval("SELECT seq FROM chain_floor WHERE workspace_id = $1", workspace_id) or 0
            for event in events:
                place = (workspace_id, event.seq)
                lines = archived.get(place, [])
                if len(lines) > 1:
                    self._violation(f"{place} is archived {len(lines)} times")
                if any(line != event.hash for line in lines) or hot.get(event.seq, event.hash) != event.hash:
                    self._violation(f"{place} has another hash")
                if (event.seq in hot) != (event.seq > floor):
                    self._violation(f"{place} is {'' if event.seq in hot else 'not '}hot, the floor is {floor}")
                if event.seq not in hot and not lines and not any(first <= event.seq <= last for first, last in gone):
                    self._violation(f"{place} is lost")
            if set(hot) - {event.seq for event in events}:
                self._violation(f"{workspace_id} has events that nobody posted")
            await self._check_tiles(connection, workspace_id, events, floor)
        await self._check_records(connection)

    async def _archived(self, connection: Superuser) -> Mapping[tuple[str, int], list[bytes]]:
        """Every line of every object by its place, read as anybody would; and no object is there that no row names."""
        rows = await connection.fetch("SELECT key FROM archive_part WHERE archived_at IS NOT NULL AND expired_at IS NULL")
        named = {row[0] for row in rows}
        found: dict[tuple[str, int], list[bytes]] = {}
        objects = ObjectStore.of(self._stack.settings(Role.ARCHIVER), REGION)
        there = set(await asyncio.to_thread(list, objects.keys("archives/")))
        for orphan in there ^ (named | {keys_key_of(name) for name in named}):
            self._violation(f"{orphan} is {'an orphan' if orphan in there else 'missing'}")
        for name in named & there:
            if await asyncio.to_thread(objects.abandon_uploads, name):
                self._violation(f"an upload of {name} was left behind")
            for line in GzipFile(fileobj=BytesIO(await asyncio.to_thread(objects.get, name))):
                parsed: Any = orjson.loads(line)
                place = (parsed["leaf"]["workspaceId"], parsed["leaf"]["seq"])
                found.setdefault(place, []).append(bytes.fromhex(parsed["hash"]))
        return found

    async def _check_tiles(self, connection: Superuser, workspace_id: str, events: Sequence[StoredEvent], floor: int) -> None:
        ends = await connection.fetch("SELECT to_seq FROM archive_range WHERE workspace_id = $1 AND purging_at IS NOT NULL", workspace_id)
        tiled = max((row[0] for row in ends), default=0)
        if tiled < floor:
            self._violation(f"{workspace_id} was purged up to {floor} and tiled up to {tiled}")
        objects = ObjectStore.of(self._stack.settings(Role.ARCHIVER), REGION)
        for first in range(0, tiled, 256):
            hashes = [event.hash for event in events[first : min(first + 256, tiled)]]
            key = tile_key(events[0].company_id, workspace_id, first // 256, len(hashes))
            if await asyncio.to_thread(objects.get, key) != b"".join(hashes):
                self._violation(f"{key} does not hold the hashes of its events")

    async def _check_records(self, connection: Superuser) -> None:
        purged = await connection.fetchval("SELECT count(*) FROM archive_range WHERE purging_at IS NOT NULL")
        told = await connection.fetch("SELECT record FROM audit_outbox")
        recorded = sum(b"events.purge" in row[0] for row in told)
        if recorded != purged:
            self._violation(f"{purged} ranges were purged, {recorded} records tell of it")

    async def _check_expired(self, connection: Superuser) -> None:
        """In the end nothing is left but tiles and what the plans still keep hot."""
        await self._check(connection)
        left = await connection.fetchval("SELECT count(*) FROM archive_part WHERE expired_at IS NULL")
        if left:
            self._violation(f"{left} parts did not expire")

    def _violation(self, text: str) -> None:
        self.world.violations.append(text)


async def _seen_by_all(connection: Superuser, chain: Chain, events: Sequence[StoredEvent]) -> None:
    """The chain as if it had gone its whole way: announced, indexed, and its head of its last day."""
    await connection.execute(
        "INSERT INTO source (topic, partition, topic_id, next_offset, announced) VALUES ($1, $2, gen_random_uuid(), $3, $3) "
        "ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, announced = excluded.announced",
        *(f"hyrelog.{REGION.lower()}.ingest", chain.partition, 2**62),
    )
    await connection.execute(
        "UPDATE chain_head SET archive_day = $2 WHERE workspace_id = $1", chain.workspace_id, day_of(events[-1].received_at)
    )
    await connection.execute(
        "INSERT INTO search SELECT workspace_id, seq, company_id, occurred_at, received_at, id, '{}' FROM events WHERE workspace_id = $1",
        chain.workspace_id,
    )


def _points(job: str) -> Sequence[str]:
    """The crash points that a job comes by."""
    own = {
        "retention-marking": ("marking", "archival"),
        "archival": ("archival",),
        "archive-verification": ("verification",),
        "purge": ("purge",),
        "archive-expiry": ("expiry",),
    }.get(job, ())
    return [point for point in (*JOB_POINTS, *RETENTION_POINTS) if point.startswith(("job_", *own))]


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
