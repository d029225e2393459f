"""Events that have left the database: found by their ids in the archive, by those alone who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from ops.seed import Tenant
from schemas.event import StoredEvent, format_time
from schemas.problems import Code
from schemas.view import render
from tests.support.archiving import PARTITION, Archive, Superuser, archive_of, event_id, mark, purge
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.stack import LocalStack

COUNT = 30


@dataclass(frozen=True)
class Site:
    """The API, and a company of two workspaces whose first events are archived and purged."""

    client: httpx.AsyncClient
    archive: Archive
    superuser: Superuser
    tenant: Tenant
    part_id: str
    purged: list[StoredEvent]
    hot: list[StoredEvent]

    async def get(self, event: str, key: str | None) -> httpx.Response:
        return await self.client.get(f"/v1/events/{event}", headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def site(servers: LocalStack, superuser: Superuser, api_client: httpx.AsyncClient) -> AsyncIterator[Site]:
    tenant = servers.tenant(workspaces=2)
    async with AsyncExitStack() as exits:
        archive = await exits.enter_async_context(archive_of(servers, superuser))
        purged: list[StoredEvent] = []
        hot: list[StoredEvent] = []
        for workspace in sorted(tenant.workspaces, key=lambda each: str(each.id)):
            chain = Chain(str(tenant.id), str(workspace.id), partition=PARTITION)
            times = [BASE_TIME + number * SECOND for number in range(COUNT + 5)]
            events = [chain.event(id=event_id(at), received_at=at, context=b'{"ipAddress":"192.0.2.1"}') for at in times]
            await store(superuser, chain, events)
            purged, hot = purged + events[:COUNT], hot + events[COUNT:]
        part_id = await mark(superuser, purged)
        await archive.writer().archive(part_id)
        await purge(superuser, purged)
        yield Site(api_client, archive, superuser, tenant, part_id, purged, hot)


async def test_a_purged_event_is_read_from_its_archive_byte_for_byte(site: Site) -> None:
    assert await site.superuser.fetchval("SELECT count(*) FROM events WHERE company_id = $1", site.tenant.id) == len(site.hot)
    for event in (site.purged[0], site.purged[COUNT - 1], site.purged[-1]):
        answer = await site.get(event.id, site.tenant.key)
        assert answer.content == render(event, verification=True)


async def test_a_workspace_key_sees_its_own_workspaces_alone(site: Site) -> None:
    for workspace in site.tenant.workspaces:
        seen = [(await site.get(event.id, workspace.key)).status_code for event in (site.purged[0], site.purged[-1])]
        own = [200 if event.workspace_id == str(workspace.id) else 404 for event in (site.purged[0], site.purged[-1])]
        assert seen == own


async def test_another_company_finds_nothing(servers: LocalStack, site: Site) -> None:
    assert (await site.get(site.purged[0].id, servers.tenant().key)).status_code == 404


async def test_what_was_never_there_is_not_found(site: Site) -> None:
    for unknown in (event_id(site.purged[3].received_at), event_id(BASE_TIME - SECOND), str(uuid4())):
        assert (await site.get(unknown, site.tenant.key)).status_code == 404


async def test_an_alias_leads_into_the_archive(site: Site) -> None:
    alias, first = event_id(BASE_TIME + 9 * SECOND), site.purged[5]
    await site.superuser.execute(
        "INSERT INTO event_alias VALUES ($1, $2, $3, $4, $5, 0, 1, 0, $6)",
        *(alias, first.company_id, first.workspace_id, first.seq, first.id, BASE_TIME),
    )
    assert (await site.get(alias, site.tenant.key)).json()["id"] == first.id


async def test_a_cold_archive_has_to_be_restored_first(site: Site) -> None:
    await site.superuser.execute("UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key WHERE id = $1", site.part_id)
    answer = await site.get(site.purged[0].id, site.tenant.key)
    assert (answer.status_code, answer.json()["code"], answer.json()["archiveIds"]) == (409, Code.RESTORE_REQUIRED, [site.part_id])
    await site.superuser.execute("UPDATE archive_part SET restored_until = now() + interval '1 day' WHERE id = $1", site.part_id)
    assert (await site.get(site.purged[0].id, site.tenant.key)).status_code == 200


async def test_an_archive_that_was_changed_is_told_as_no_answer(site: Site) -> None:
    """Never as an event that nobody posted."""
    part = await site.archive.part(site.part_id)
    stored = site.archive.objects.get(part.key)
    assert site.archive.objects.delete(part.key)
    site.archive.objects.put_new(part.key, stored[:-40] + bytes(40))
    assert (await site.get(site.purged[0].id, site.tenant.key)).status_code == 503


async def test_lists_tell_since_when_all_is_there(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.tenant.key}"}
    page = (await site.client.get("/v1/events", headers=headers)).json()
    assert [each["seq"] for each in page["data"]] == [
        event.seq for event in sorted(site.hot, key=lambda e: (e.timestamp, e.id), reverse=True)
    ]
    assert page["hotSince"] == format_time(BASE_TIME + (COUNT - 1) * SECOND)
