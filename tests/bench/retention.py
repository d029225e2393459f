"""Events on their way out: marked, archived, verified, exported from both places, and purged beside ingest. Each step is the real one."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import asyncpg

from ops.local.environment import Role, inherited
from ops.seed import Tenant
from tests.bench import child
from tests.bench.backlog import feed
from tests.bench.bench import Bench
from tests.bench.meter import Cost
from tests.bench.pipeline import REGION
from tests.bench.posts import Posting, post
from tests.bench.resting import SEARCH, rest, wake
from tests.bench.table import Row, cpu_row, rate
from tests.support.stack import UNLIMITED, create_tenant

ARCHIVE = "archive"
WORKSPACES = 8
FORMATS = ("JSONL", "CSV", "PARQUET")
_FILL_ENVELOPE = 100
_SECONDS = 1800.0
_POLL_SECONDS = 0.1
_READ_BYTES = 1 << 20
_MEMORY = 256 << 20
_NAMES = iter(range(1, 1000))


@dataclass(frozen=True, slots=True)
class Step:
    """Something done to so many events, and the most memory that whoever did it had."""

    events: int
    seconds: float
    peak_bytes: int
    cost: Cost

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class Leaving:
    """All steps of one company's day."""

    marked: Step
    archived: Step
    verified: Step
    hot: Mapping[str, Step]
    archive: Mapping[str, Step]
    purged: Step
    alone: Posting
    beside: Posting


class _Day:
    """A company whose plan keeps events for a day, and the time at which that is over."""

    def __init__(self, bench: Bench, tenant: Tenant, events: int, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.events = events
        self._bench = bench
        self._tenant = tenant
        self._connection = connection
        self._as_of = (datetime.now(UTC) + timedelta(days=3)).isoformat()

    async def job(self, name: str) -> Step:
        """A job by hand, with its start."""
        argv = [sys.executable, "-m", "ops", "jobs", "run", name, "--region", str(REGION), "--as-of", self._as_of]
        environ = inherited() | {"HYRELOG_STATE": str(self._bench.stack.state.root)}
        spent, began = self._bench.meter.read(), time.monotonic()
        ended = await asyncio.to_thread(child.run, argv, _SECONDS, environ)
        cost = self._bench.meter.read().since(spent).with_process(name, ended.cpu_seconds)
        return Step(self.events, time.monotonic() - began, ended.peak_bytes, cost)

    async def archive(self) -> Step:
        """By the sink, from its first record until every part stands as archived."""
        self._bench.meter.peaks.pop(ARCHIVE, None)
        await wake(self._bench, ARCHIVE)
        await asyncio.to_thread(self._bench.stack.parts.wait_ready, ARCHIVE)
        spent, began = self._bench.meter.read(), time.monotonic()
        await self.job("archival")
        async with asyncio.timeout(_SECONDS):
            while await self._connection.fetchval("SELECT count(*) FROM archive_part WHERE archived_at IS NULL"):
                await asyncio.sleep(_POLL_SECONDS)
        seconds, cost = time.monotonic() - began, self._bench.meter.read().since(spent)
        self._bench.meter.note_memory()
        return Step(self.events, seconds, self._bench.meter.peaks[ARCHIVE], cost)

    async def export(self, source: str, kind: str) -> Step:
        """All of the day, read as it comes and thrown away."""
        headers = {"Authorization": f"Bearer {self._tenant.key}"}
        body = {"source": source, "format": kind}
        if source == "ARCHIVED":
            body |= {
                "from": (datetime.now(UTC) - timedelta(days=360)).isoformat(),
                "to": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            }
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(self._bench.stack.base_url, headers=headers, timeout=timeout, auto_decompress=False) as session:
            async with session.post("/v1/exports", json=body) as made:
                made.raise_for_status()
                job = (await made.json())["jobId"]
            self._bench.meter.peaks.pop("ingest", None)
            spent, began = self._bench.meter.read(), time.monotonic()
            async with session.get(f"/v1/exports/{job}/download", headers={"Accept-Encoding": "identity"}) as answer:
                answer.raise_for_status()
                async for _ in answer.content.iter_chunked(_READ_BYTES):
                    pass
            seconds, cost = time.monotonic() - began, self._bench.meter.read().since(spent)
            self._bench.meter.note_memory()
            async with session.get(f"/v1/exports/{job}/manifest") as answer:
                rows = int((await answer.json())["rows"])
        return Step(rows, seconds, self._bench.meter.peaks["ingest"], cost)

    async def indexed(self) -> None:
        """Wait until the search sink has all of it: before that, nothing is purged."""
        await wake(self._bench, SEARCH)
        async with asyncio.timeout(_SECONDS):
            while await self._connection.fetchval("SELECT count(*) FROM search WHERE company_id = $1", self._tenant.id) < self.events:
                await asyncio.sleep(_POLL_SECONDS)
        await rest(self._bench, SEARCH)


@asynccontextmanager
async def _day(bench: Bench, events: int) -> AsyncIterator[_Day]:
    name = f"Leaving {next(_NAMES)}"
    overrides = {**UNLIMITED, "hotDays": 1, "exportRows": None}
    tenant = create_tenant(bench.stack.settings(Role.ADMIN), REGION, name, workspaces=WORKSPACES, overrides=overrides)
    await feed(bench, events, _FILL_ENVELOPE, tenant)
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        async with asyncio.timeout(_SECONDS):
            stored = "SELECT coalesce(sum(seq), 0) FROM chain_head WHERE company_id = $1"
            while await connection.fetchval(stored, tenant.id) < events:
                await asyncio.sleep(_POLL_SECONDS)
        await bench.pipeline.drained()
        yield _Day(bench, tenant, events, connection)
    finally:
        await connection.close()


async def leaving(bench: Bench) -> Leaving:
    """A company's day, from the hot table to nothing but the archive."""
    async with _day(bench, bench.plan.archived) as day:
        marked = await day.job("retention-marking")
        archived = await day.archive()
        await rest(bench, ARCHIVE)
        verified = await day.job("archive-verification")
        hot = {kind: await day.export("HOT", kind) for kind in FORMATS}
        await day.indexed()
        alone = await post(bench, 1)
        purging = asyncio.create_task(day.job("purge"))
        beside = await post(bench, 1)
        purged = await purging
        archive = {kind: await day.export("ARCHIVED", kind) for kind in FORMATS}
    return Leaving(marked, archived, verified, hot, archive, purged, alone, beside)


async def long_day(bench: Bench) -> Step:
    """The largest day that is asked for, in one object: how much memory that takes."""
    async with _day(bench, bench.plan.long_day) as day:
        await day.job("retention-marking")
        archived = await day.archive()
        await rest(bench, ARCHIVE)
    return archived


def tell_leaving(found: Leaving) -> list[Row]:
    """The rows of the table."""
    exported = [
        _row(f"export of {kind} from {where}", step, "≥ 50,000/s (aim 100,000)" if (kind, where) == ("JSONL", "the hot table") else "")
        for where, steps in (("the hot table", found.hot), ("the archive", found.archive))
        for kind, step in steps.items()
    ]
    ratio = f"{found.beside.announced / found.alone.announced:.2f} of {rate(found.alone.announced)} alone"
    return [
        _row("retention-marking", found.marked),
        _row("archive sink", found.archived),
        cpu_row("archive sink", found.archived.cost, found.archived.events),
        _row("archive-verification", found.verified),
        cpu_row("archive-verification", found.verified.cost, found.verified.events),
        *exported,
        cpu_row("export of JSONL from the hot table", found.hot["JSONL"].cost, found.hot["JSONL"].events),
        cpu_row("export of JSONL from the archive", found.archive["JSONL"].cost, found.archive["JSONL"].events),
        _row("purge with ingest running", found.purged),
        Row("single POST, persisted and announced, beside purging", rate(found.beside.announced), "", ratio),
    ]


def tell_long_day(archived: Step) -> list[Row]:
    """The rows of the table."""
    return [_row(f"archive sink, a day of {archived.events:,}", archived, f"≤ {_MEMORY >> 20} MiB")]


def _row(name: str, step: Step, target: str = "") -> Row:
    detail = f"{step.events:,} in {step.seconds:.1f} s; peak memory {step.peak_bytes / 2**20:.0f} MiB"
    return Row(name, rate(step.rate), target, detail)
