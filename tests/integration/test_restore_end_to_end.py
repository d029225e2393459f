"""From a cold archive to its events and back, on the real servers: archived, asked for, approved, fetched, exported, over."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
import httpx
import pytest

from ops.clock import SystemClock
from ops.db import load_queries, open_pool, tenant_transaction
from ops.jobs import cold
from ops.jobs.restore import checker, expiration, initiator
from ops.jobs.work import Run
from ops.local.environment import Role
from ops.objects import Cold, ObjectStore
from ops.restore import requests
from ops.restore.requests import Wish
from ops.restore.rows import RestoreRequest
from schemas import ids
from schemas.restore import State, Tier
from schemas.retention import DAY_MICROS
from schemas.topics import Region
from tests.support.archiving import Archive, archive_of, mark
from tests.support.exporting import ARCHIVED, World, lines, world_of
from tests.support.restoring import ANN, OLGA, Time
from tests.support.stack import LocalStack
from tests.support.working import working

REGION = Region.US
SECONDS = 120
COLD_AFTER = 2
_ALL_TIMES = (0, 4_102_444_800_000_000, None, None)


@dataclass
class Scene:
    """A company whose first events are archived, purged and cold; and a clock that runs two minutes and weeks ahead when it is told to."""

    servers: LocalStack
    world: World
    archive: Archive
    time: Time
    part_id: str

    async def run(self, job: Run) -> dict[str, int]:
        settings = self.archive.settings.model_copy(
            update={"database_url_us": self.servers.settings(Role.SCHEDULER).database_url_us, "restore_simulated_seconds": SECONDS}
        )
        objects = ObjectStore.of(settings, REGION, self.time)
        async with working(self.servers, REGION, clock=self.time, objects=objects) as work:
            return await job(work)

    async def decided(self) -> RestoreRequest:
        """Somebody asks, somebody else approves."""
        company, url = str(self.world.tenant.id), self.servers.settings(Role.API).database_url(REGION)
        new_id = ids.uuid7(self.time.now, os.urandom(ids.RANDOM_BYTES))
        async with await open_pool(url, application_name="test", region=REGION, max_size=1) as pool, pool.acquire() as connection:
            async with tenant_transaction(connection, company):
                wish = Wish(self.part_id, Tier.BULK, 2)
                made = await requests.request(
                    connection, wish, region=REGION, company_id=company, by=ANN, now=self.time.now, request_id=new_id
                )
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE hyrelog_dashboard")
                return await requests.approve(connection, made.id, by=OLGA, now=self.time.now)

    async def state(self, request: RestoreRequest) -> State:
        return State(await self.world.superuser.fetchval("SELECT state FROM restore_request WHERE id = $1", UUID(request.id)))

    async def cold_parts(self, export: str) -> list[str]:
        """What an export would have to be restored for, by the scene's clock."""
        query = load_queries("api.exports")["cold_parts"]
        rows = await self.world.superuser.fetch(query, self.world.tenant.id, UUID(export), self.time.now, *_ALL_TIMES)
        return [str(row["id"]) for row in rows]

    async def read(self) -> int:
        """How many events the part's reader finds, by the scene's clock. Raises ``Cold``."""
        part = await self.archive.part(self.part_id)
        if not part.can_be_read(self.time.now):
            raise Cold(part.key)
        reader = await self.archive.reader(part)
        first = self.world.events[0][0]
        return sum(len(block) for block in reader.events(first.workspace_id, 1, ARCHIVED))


@pytest.fixture
async def scene(servers: LocalStack, superuser: asyncpg.Connection[asyncpg.Record], api_client: httpx.AsyncClient) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as exits:
        archive = await exits.enter_async_context(archive_of(servers, superuser))
        world = await world_of(servers, superuser, api_client)
        time = Time(SystemClock().micros())
        archive.objects = ObjectStore.of(servers.settings(Role.ARCHIVER), REGION, time)
        part_id = await mark(superuser, world.stored(0, ARCHIVED), day=date(2026, 1, 1), cold_after_days=COLD_AFTER)
        await archive.writer().archive(part_id)
        yield Scene(servers, world, archive, time, part_id)


async def test_a_cold_archive_is_restored_exported_and_cold_again(scene: Scene) -> None:
    export = await scene.world.made(source="HOT_AND_ARCHIVED")
    await scene.world.purge()
    assert await scene.read() == ARCHIVED

    scene.time.now += (COLD_AFTER + 1) * DAY_MICROS
    await scene.run(cold.run)
    assert await scene.cold_parts(export) == [scene.part_id]
    with pytest.raises(Cold):
        await scene.read()
    refused = await scene.world.get(f"/{export}/download")
    assert (refused.status_code, refused.json()["archiveIds"]) == (409, [scene.part_id])

    request = await scene.decided()
    assert (await scene.run(initiator.run))["started"] == 1
    assert (await scene.run(checker.run))["ongoing"] == 1
    part = await scene.archive.part(scene.part_id)
    with pytest.raises(Cold):
        scene.archive.objects.get(part.key)
    assert scene.archive.objects.get(part.keys_key)  # the salts never go cold

    scene.time.now += SECONDS * 1_000_000
    assert (await scene.run(checker.run))["completed"] == 1
    assert (await scene.state(request), await scene.cold_parts(export), await scene.read()) == (State.COMPLETED, [], ARCHIVED)

    scene.time.now += 2 * DAY_MICROS - 1
    assert (await scene.cold_parts(export), await scene.read()) == ([], ARCHIVED)
    scene.time.now += 1  # over, though nobody has written that down yet
    assert await scene.cold_parts(export) == [scene.part_id]
    for outcome in (0, 1):
        with pytest.raises(Cold):
            await scene.read()
        assert (await scene.run(expiration.run))["requests"] == 1 - outcome
    assert (await scene.state(request), await scene.cold_parts(export)) == (State.EXPIRED, [scene.part_id])
    assert (await scene.decided()).state is State.APPROVED


async def test_meanwhile_a_download_is_what_it_would_have_been(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, by the API's own clock: so the store takes no time."""
    monkeypatch.setattr("tests.integration.test_restore_end_to_end.SECONDS", 0)
    export = await scene.world.made(source="HOT_AND_ARCHIVED")
    await scene.world.purge()
    await scene.world.superuser.execute(
        "UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key WHERE id = $1", UUID(scene.part_id)
    )
    await scene.decided()
    await scene.run(initiator.run)
    await scene.run(checker.run)
    assert (await scene.world.get(f"/{export}/download")).content == lines(scene.world.stored())
    scene.time.now += 2 * DAY_MICROS
    await scene.run(expiration.run)
    assert (await scene.world.get(f"/{export}/download")).json()["code"] == "RESTORE_REQUIRED"
