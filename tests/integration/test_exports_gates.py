"""What stands before an export: its body's rules, the company's plan, how far archives go back, and cold archives (contract §3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.event import format_time
from schemas.plans import PlanName
from schemas.retention import DAY_MICROS
from tests.support.archiving import Archive, archive_of
from tests.support.exporting import ARCHIVED, World, lines, world_of
from tests.support.managing import Database, told
from tests.support.stack import LocalStack

SOURCES = ("HOT", "ARCHIVED", "HOT_AND_ARCHIVED")


@pytest.fixture
async def archive(servers: LocalStack, superuser: Database) -> AsyncIterator[Archive]:
    async with archive_of(servers, superuser) as archive:
        yield archive


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> World:
    return await world_of(servers, superuser, api_client)


def _refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("plan", "rows"), [("FREE", 10_000), ("STARTER", 250_000), ("GROWTH", 1_000_000), ("ENTERPRISE", None)], ids=str)
async def test_each_plan_has_its_sources_and_rows(
    servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient, plan: PlanName, rows: int | None
) -> None:
    """And what it does not have is told in the audit, as denied."""
    world = await world_of(servers, superuser, api_client, plan=plan)
    for source in SOURCES:
        answer = await world.create(source=source, **world.window)
        if plan == "FREE" and source != "HOT":
            assert _refused(answer) == (403, "PLAN_RESTRICTED")
        else:
            assert answer.status_code == 202
    assert (await world.create(limit=rows or 2**53 - 1)).status_code == 202
    if rows is not None:
        assert _refused(await world.create(limit=rows + 1)) == (403, "PLAN_LIMIT_EXCEEDED")
        entry = (await told(superuser, world.tenant.id))[-1]
        assert (entry.action, entry.outcome, entry.metadata["code"]) == ("export.create", "DENIED", "PLAN_LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"source": "COLD"}, "source"),
        ({"format": "XML"}, "format"),
        ({"limit": 0}, "limit"),
        ({"limit": "1"}, "limit"),
        ({"unknown": 1}, "unknown"),
        ({"from": "yesterday"}, "from"),
        ({"csvRaw": "yes"}, "csvRaw"),
        ({"filters": {"from": "2026-01-01T00:00:00Z"}}, "filters.from"),
        ({"filters": {"category": 1}}, "filters.category"),
        ({"filters": {"receivedFrom": 5}}, "filters.receivedFrom"),
        ({"filters": {"unknown": "x"}}, "filters.unknown"),
        ({"filters": []}, "filters"),
        ({"source": "ARCHIVED", "from": "2026-01-01T00:00:00Z"}, "to"),
        ({"source": "ARCHIVED", "filters": {"idempotencyKey": "k"}}, "filters.idempotencyKey"),
        ({"source": "HOT_AND_ARCHIVED", "filters": {"idempotencyKey": "k"}}, "filters.idempotencyKey"),
    ],
)
async def test_what_is_wrong_is_named(world: World, wish: dict[str, Any], field: str) -> None:
    answer = await world.create(**wish)
    assert _refused(answer) == (400, "VALIDATION_ERROR")
    assert [detail["field"] for detail in answer.json()["details"]] == [field]


async def test_an_archived_export_takes_both_times(world: World) -> None:
    answer = await world.create(source="ARCHIVED")
    assert [(detail["field"], detail["message"]) for detail in answer.json()["details"]] == [
        ("from", "is required where source is ARCHIVED"),
        ("to", "is required where source is ARCHIVED"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("category", "No"), ("action", "a b"), ("outcome", "MAYBE"), ("traceId", "7"), ("projectId", "x"), ("q", "ab"), ("q", "..."),
     ("actorId", "ä" * 200), ("tenantId", ""), ("receivedFrom", "2026-01-01"), ("idempotencyKey", "ü")],
)  # fmt: skip
async def test_filters_are_refused_in_the_querys_words(world: World, name: str, value: str) -> None:
    """One rule book for both."""
    export = await world.create(filters={name: value})
    query = await world.api.get("/v1/events", headers=world.key(), params={name: value})
    ours, theirs = (answer.json()["details"] for answer in (export, query))
    assert [(detail["field"], detail["message"]) for detail in ours] == [(f"filters.{name}", detail["message"]) for detail in theirs]


async def test_what_no_archive_goes_back_to_is_refused(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> None:
    """A workspace by its plan's days; the AUDIT workspace, which a company's key has too, for a year at least."""
    world = await world_of(servers, superuser, api_client, plan="STARTER")
    end = world.window["to"]
    for source in ("ARCHIVED", "HOT_AND_ARCHIVED"):
        for workspace, days in ((0, 180), (None, 365)):
            for allowed, start in ((True, days - 7), (False, days)):
                wish: dict[str, Any] = {"source": source, "from": format_time(world.since - start * DAY_MICROS), "to": end}
                answer = await world.create(workspace, **wish)
                assert answer.status_code == (202 if allowed else 403), (workspace, start)
                assert allowed or answer.json()["code"] == "RETENTION_WINDOW_EXCEEDED"
    assert (await world.create(None, **{"from": "2001-01-01T00:00:00Z"})).status_code == 202


async def test_cold_archives_have_to_be_restored_first(world: World, archive: Archive) -> None:
    """At the creation, and again before the first byte; but not those that the export would not be read from."""
    part = await world.archive(archive)
    both: dict[str, Any] = {"source": "HOT_AND_ARCHIVED"}
    made = await world.made(**both)
    await world.superuser.execute("UPDATE archive_part SET is_cold_archived = true, cold_archive_key = key WHERE id = $1", part)
    assert (await world.create(**both)).status_code == 202  # all of it is hot still
    await world.purge()
    late = {**both, "from": format_time(world.events[0][ARCHIVED].timestamp)}
    early = {"source": "ARCHIVED", **world.window}
    assert (await world.create(**late)).status_code == 202
    for answer in (await world.create(**both), await world.create(0, **early), await world.get(f"/{made}/download")):
        assert _refused(answer) == (409, "RESTORE_REQUIRED")
        assert answer.json()["archiveIds"] == [part]
    assert (await world.job(made))["status"] == "PENDING"
    await world.superuser.execute("UPDATE archive_part SET restored_until = now() + interval '1 day' WHERE id = $1", part)
    assert (await world.get(f"/{made}/download")).content == lines(world.stored())


async def test_archives_whose_age_has_come_have_to_be_restored_before_they_are_marked_cold(world: World, archive: Archive) -> None:
    """The store moves them at that age, and an export that began would break off; the marker comes by weekly."""
    part = await world.archive(archive)
    both: dict[str, Any] = {"source": "HOT_AND_ARCHIVED"}
    await world.purge()
    aged = "UPDATE archive_part SET cold_after_days = 1, archived_at = now() - $2::integer * interval '1 hour' WHERE id = $1"
    await world.superuser.execute(aged, part, 23)
    assert (await world.create(**both)).status_code == 202
    await world.superuser.execute(aged, part, 25)
    answer = await world.create(**both)
    assert _refused(answer) == (409, "RESTORE_REQUIRED")
    assert answer.json()["archiveIds"] == [part]


async def test_a_download_is_bounded_by_the_plan_of_its_day_too(world: World, superuser: Database) -> None:
    """Made under a larger plan, an export is no way around the one of today; nor does a larger one lengthen what was made before."""
    both, short = await world.made(source="HOT_AND_ARCHIVED"), await world.made(limit=3)
    hot = await world.made()
    plan = "UPDATE company SET overrides = overrides || $2::jsonb WHERE id = $1"
    await superuser.execute(plan, world.tenant.id, '{"exportSources": ["HOT"], "exportRows": 5}')
    assert _refused(await world.get(f"/{both}/download")) == (403, "PLAN_RESTRICTED")
    contents = [(await world.get(f"/{export}/download")).content.count(b"\n") for export in (hot, short)]
    assert (contents, (await world.job(hot))["truncated"]) == ([5, 3], True)
    await superuser.execute(plan, world.tenant.id, '{"exportSources": ["HOT", "HOT_AND_ARCHIVED"], "exportRows": null}')
    assert (await world.get(f"/{hot}/download")).content == lines(world.stored())
    assert (await world.get(f"/{both}/download")).content == lines(world.stored())


async def test_refused_downloads_are_told_in_the_audit(world: World, superuser: Database) -> None:
    export, other = await world.made(), "019c1388-0000-7000-8000-00000000abcd"
    await world.api.post(f"/v1/exports/{export}/cancel", headers=world.key())
    assert [(await world.get(f"/{one}/download")).status_code for one in (export, other)] == [409, 404]
    entries = (await told(superuser, world.tenant.id))[-2:]
    assert [(entry.action, entry.outcome, entry.target["id"], entry.metadata["code"]) for entry in entries] == [
        ("export.download", "DENIED", export, "CONFLICT"),
        ("export.download", "DENIED", other, "NOT_FOUND"),
    ]


async def test_a_refused_export_is_not_there(world: World, superuser: Database) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM export_job")
    await world.create(limit=10_000_000)
    assert await superuser.fetchval("SELECT count(*) FROM export_job") == before
