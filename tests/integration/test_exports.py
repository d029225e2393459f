"""``/v1/exports`` on real servers: what an export holds, whatever happens meanwhile, and what its manifest says."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from prometheus_client import CollectorRegistry

from api.exports import source
from api.exports.archive import Archives, Run
from api.exports.encoders import Jsonl
from api.exports.source import ChainBroken, EventsGone, Source
from api.exports.wishes import ExportFilters
from api.store import Store
from ops.auth import Principal
from ops.db import open_pool
from ops.local.environment import Role
from ops.metrics import Metrics
from ops.verify.checked import Verdict
from ops.verify.files import check as verify
from schemas.event import StoredEvent, format_time
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.support import searching
from tests.support.archiving import Archive, archive_of
from tests.support.asking import VALUES, make_events
from tests.support.chains import store
from tests.support.exporting import ARCHIVED, EVENTS, World, lines, world_of
from tests.support.managing import Database, told
from tests.support.stack import LocalStack


@pytest.fixture
async def archive(servers: LocalStack, superuser: Database) -> AsyncIterator[Archive]:
    async with archive_of(servers, superuser) as archive:
        yield archive


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> World:
    return await world_of(servers, superuser, api_client)


async def test_an_export_is_what_was_stored_byte_for_byte(world: World, superuser: Database) -> None:
    """By workspace and seq, with all that is needed to verify it; and the manifest says what it came to."""
    export = await world.made()
    before = await world.get(f"/{export}/manifest")
    assert (before.status_code, before.json()["code"]) == (409, "CONFLICT")
    answer = await world.get(f"/{export}/download")
    assert answer.content == lines(world.stored())
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == f'attachment; filename="hyrelog-export-{export}.jsonl"'
    job = await world.job(export)
    assert (job["status"], job["rows"], job["truncated"], job["reason"]) == ("SUCCEEDED", str(2 * EVENTS), False, None)
    manifest = (await world.get(f"/{export}/manifest")).json()
    assert manifest["sha256"] == sha256(answer.content).hexdigest()
    assert (manifest["bytes"], manifest["rows"], manifest["filtered"]) == (str(len(answer.content)), str(2 * EVENTS), False)
    chains = sorted(world.events, key=lambda each: each[0].workspace_id)
    assert manifest["workspaces"] == [
        {
            "workspaceId": chain[0].workspace_id,
            "rows": str(EVENTS),
            "firstSeq": 1,
            "firstPrevHash": "0" * 64,
            "firstHash": chain[0].hash.hex(),
            "lastSeq": EVENTS,
            "lastHash": chain[-1].hash.hex(),
        }
        for chain in chains
    ]
    entries = [(entry.action, entry.outcome, entry.target["id"]) for entry in await told(superuser, world.tenant.id)]
    assert entries == [("export.create", "SUCCESS", export), ("export.download", "SUCCESS", export)]


@pytest.mark.parametrize(
    "wish",
    [{}, {"limit": 40}, {"filters": {"tenantId": "=cmd"}}, {"format": "CSV"}, {"format": "PARQUET"}, {"verification": False}],
    ids=str,
)
async def test_hyrelog_verify_takes_it_with_its_manifest(world: World, tmp_path: Path, wish: dict[str, Any]) -> None:
    """And finds a line that was taken out."""
    export = await world.made(**wish)
    file, manifest = tmp_path / "export", tmp_path / "export.manifest.json"
    file.write_bytes(content := (await world.get(f"/{export}/download")).content)
    manifest.write_bytes((await world.get(f"/{export}/manifest")).content)
    checked = verify(file, manifest=None, filtered=False, advance=lambda _: None)
    expected = Verdict.INTACT if wish.get("verification", True) else Verdict.UNKNOWN
    assert checked.verdict is expected, [checked.words, *checked.sentences()]
    file.write_bytes(b"".join(line for number, line in enumerate(content.splitlines(keepends=True)) if number != 3))
    assert verify(file, manifest=None, filtered=False, advance=lambda _: None).verdict is Verdict.BROKEN


async def test_a_hole_between_two_runs_verifies_by_the_manifest_alone(world: World, tmp_path: Path) -> None:
    """As it is after a time without an archive, or once parts in the middle have expired."""
    export = await world.made(source="HOT_AND_ARCHIVED")
    await world.superuser.execute("UPDATE export_scope SET to_seq = 10 WHERE export_id = $1", export)
    rest = "INSERT INTO export_scope SELECT export_id, company_id, workspace_id, 16, $2 FROM export_scope WHERE export_id = $1"
    await world.superuser.execute(rest, export, EVENTS)
    file, manifest = tmp_path / "export", tmp_path / "export.manifest.json"
    file.write_bytes((await world.get(f"/{export}/download")).content)
    assert verify(file, manifest=None, filtered=False, advance=lambda _: None).verdict is Verdict.UNKNOWN
    manifest.write_bytes(told_by := (await world.get(f"/{export}/manifest")).content)
    assert [(part["firstSeq"], part["lastSeq"]) for part in orjson.loads(told_by)["workspaces"]] == [(1, 10), (16, EVENTS)] * 2
    checked = verify(file, manifest=None, filtered=False, advance=lambda _: None)
    assert checked.verdict is Verdict.INTACT, [checked.words, *checked.sentences()]
    file.write_bytes(b"".join(line for number, line in enumerate(file.read_bytes().splitlines(keepends=True)) if number != 9))
    assert verify(file, manifest=None, filtered=False, advance=lambda _: None).verdict is Verdict.BROKEN


async def test_what_is_stored_later_is_not_in_it(world: World, superuser: Database) -> None:
    """An export is as of its creation, however often it is downloaded."""
    export = await world.made()
    before = world.stored()
    for chain in world.chains:
        await store(superuser, chain, chain.events(3))
    for _ in range(2):
        assert (await world.get(f"/{export}/download")).content == lines(before)


async def test_a_workspace_key_exports_its_workspace_and_sees_its_own_exports(world: World) -> None:
    own, other, companys = await world.made(0), await world.made(1), await world.made()
    assert (await world.get(f"/{own}/download", 0)).content == lines(world.events[0])
    for path in (f"/{other}", f"/{companys}", f"/{companys}/download", f"/{companys}/manifest"):
        assert (await world.get(path, 0)).status_code == 404
    assert [job["jobId"] for job in (await world.get("", 0)).json()["data"]] == [own]
    assert [job["jobId"] for job in (await world.get("")).json()["data"]] == [companys, other, own]
    first = (await world.get("?limit=2")).json()
    rest = (await world.get(f"?limit=2&cursor={first['nextCursor']}")).json()
    assert [job["jobId"] for job in first["data"] + rest["data"]] == [companys, other, own]
    assert rest["nextCursor"] is None


async def test_without_verification_lines_are_as_in_a_list(world: World) -> None:
    assert await world.exported(verification=False) == lines(world.stored(), verification=False)


@pytest.mark.parametrize("raw", [False, True])
async def test_csv_has_what_the_events_have(world: World, raw: bool) -> None:
    """A spreadsheet finds no formula in it, unless it was asked for as it stands."""
    text = (await world.exported(format="CSV", csvRaw=raw)).decode()
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert text.count("\r\n") == 2 * EVENTS + 1
    assert [(row["id"], row["seq"], row["hash"]) for row in found] == [(each.id, str(each.seq), each.hash.hex()) for each in world.stored()]
    for row, event in zip(found, world.stored(), strict=True):
        name, note = ("=note", "-1") if raw else ("'=note", "'-1")
        assert row["metadata"] == f'{{"{name}":"{note}","n":1.5,"quoted":"a \\"b\\", c"}}'
        assert row["tenantId"] == (event.tenant_id if raw or event.tenant_id != "=cmd" else "'=cmd")
        assert row["context"] == ""


async def test_parquet_has_what_the_events_have(world: World) -> None:
    table = pq.read_table(io.BytesIO(await world.exported(format="PARQUET")))
    rows = table.to_pylist()
    for row, event in zip(rows, world.stored(), strict=True):
        assert (row["id"], row["seq"], row["prevHash"], row["hash"]) == (event.id, event.seq, event.prev_hash.hex(), event.hash.hex())
        assert orjson.loads(row["metadata"])["n"] == 1.5
        assert row["context"] is None
        assert round(row["timestamp"].timestamp() * 1_000_000) == event.timestamp


@pytest.mark.parametrize("form", ["JSONL", "CSV", "PARQUET"])
async def test_a_download_goes_on_where_it_broke_off(world: World, form: str) -> None:
    """The same bytes, and the manifest is of all of them."""
    export = await world.made(format=form)
    whole = (await world.get(f"/{export}/download")).content
    manifest = (await world.get(f"/{export}/manifest")).json()
    for offset in (0, 1, len(whole) // 2, len(whole), len(whole) + 5):
        assert (await world.get(f"/{export}/download?offset={offset}")).content == whole[offset:]
        again = (await world.get(f"/{export}/manifest")).json()
        assert {**again, "finishedAt": ""} == {**manifest, "finishedAt": ""}


async def test_the_content_is_encoded_as_its_client_wishes(world: World) -> None:
    export = await world.made()
    expected = lines(world.stored())
    decode: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "zstd": lambda body: zstandard.ZstdDecompressor().stream_reader(body).read(),
    }
    for header, coding in (("gzip", "gzip"), ("gzip;q=0.5, zstd", "zstd"), ("zstd;q=0.5, gzip", "gzip"), ("br, zstd;q=0", None)):
        async with world.api.stream("GET", f"/v1/exports/{export}/download", headers=world.key() | {"Accept-Encoding": header}) as answer:
            body = b"".join([piece async for piece in answer.aiter_raw()])
        assert answer.headers.get("content-encoding") == coding
        assert (body if coding is None else decode[coding](body)) == expected


async def test_more_events_than_rows_are_told_as_truncated(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> None:
    """Whether it was the plan or the wish that left some out; and not where there are just as many."""
    world = await world_of(servers, superuser, api_client, exportRows=2 * EVENTS)
    for limit, expected, truncated in ((None, 2 * EVENTS, False), (2 * EVENTS, 2 * EVENTS, False), (EVENTS + 3, EVENTS + 3, True)):
        export = await world.made(limit=limit)
        assert (await world.get(f"/{export}/download")).content == lines(world.stored()[:expected])
        manifest = (await world.get(f"/{export}/manifest")).json()
        assert (manifest["rows"], manifest["truncated"]) == (str(expected), truncated)
    await store(superuser, world.chains[0], world.chains[0].events(1))
    export = await world.made()
    await world.get(f"/{export}/download")
    assert ((await world.job(export))["rows"], (await world.job(export))["truncated"]) == (str(2 * EVENTS), True)


async def test_filters_let_through_what_the_query_finds(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> None:
    """Every filter of the query, alone and together, of a company's key and of a workspace's."""
    world = await world_of(servers, superuser, api_client)
    events: list[StoredEvent] = []
    for chain in world.chains:
        made = make_events(chain, 40, random.Random(7))
        await store(superuser, chain, made)
        await searching.index(superuser, made)
        await searching.name(superuser, made[3], f"key-{chain.workspace_id}")
        events += made
    asked: list[dict[str, Any]] = [{name: value} for name, values in VALUES.items() for value in values[:3]]
    asked += [{"category": "auth", "outcome": "SUCCESS"}, {"q": "ada"}, {"q": "final REPORT"}, {"action": "user.*", "q": "café"}]
    asked += [{"idempotencyKey": f"key-{world.chains[0].workspace_id}"}, {"idempotencyKey": "none"}]
    asked += [{"workspaceId": world.chains[1].workspace_id}, {"workspaceId": "0190163d-8694-739b-aea5-966c26f8ad90"}]
    asked += [{"receivedFrom": "2026-01-01T00:00:03Z", "receivedTo": "2026-01-01T00:00:07Z"}]
    found = 0
    for number, filters in enumerate(asked):
        workspace = None if number % 3 else 0
        exported = [orjson.loads(line)["id"] for line in (await world.exported(workspace, filters=filters)).splitlines()]
        page = await api_client.get("/v1/events", headers=world.key(workspace), params={**filters, "limit": 200})
        listed = {event["id"] for event in page.json()["data"]}
        if "q" in filters:  # found by the index alone
            exported = [each for each in exported if each in {event.id for event in events}]
        assert (set(exported), len(exported)) == (listed, len(listed)), filters
        found += len(listed)
    assert found > 100


async def test_times_bound_an_export(world: World) -> None:
    start, end = world.events[0][5].timestamp, world.events[0][9].timestamp
    exported = await world.exported(None, **{"from": format_time(start), "to": format_time(end)})
    assert exported == lines([event for event in world.stored() if start <= event.timestamp < end])


async def test_what_has_left_the_database_is_read_from_the_archive_byte_for_byte(world: World, archive: Archive) -> None:
    """Made before or after it was purged; and filters judge it the same."""
    await world.archive(archive)
    hot = await world.made()
    both: dict[str, Any] = {"source": "HOT_AND_ARCHIVED"}
    before = await world.made(**both)
    filtered = {**both, "filters": {"tenantId": "=cmd", "q": "ada"}}
    expected = await world.exported(**filtered)
    await world.purge()
    assert (await world.get(f"/{hot}/download")).content == lines(world.stored())
    assert (await world.get(f"/{before}/download")).content == lines(world.stored())
    assert await world.exported(**both) == lines(world.stored())
    assert await world.exported(1, **both) == lines(world.events[1])
    assert await world.exported() == lines(world.stored(ARCHIVED))
    assert await world.exported(source="ARCHIVED", **world.window) == lines(world.stored(0, ARCHIVED))
    assert await world.exported(**filtered) == expected
    csv_text = await world.exported(format="CSV", **both)
    assert csv_text.count(b"\r\n") == 2 * EVENTS + 1


async def test_an_archived_export_has_what_is_archived_even_while_it_is_hot(world: World, archive: Archive) -> None:
    await world.archive(archive)
    assert await world.exported(source="ARCHIVED", **world.window) == lines(world.stored(0, ARCHIVED))


@pytest.mark.parametrize("moment", [0, 2, 5, 11])
async def test_events_that_are_moved_while_they_are_read_are_read_once(
    servers: LocalStack, world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Purged behind, around and in front of where the export stands, with new ones arriving: no row twice, none missing."""
    monkeypatch.setattr(source, "PAGE_ROWS", 3)
    await world.archive(archive)
    export, stored = await world.made(), world.stored()
    scope = [Run(chain.workspace_id, 1, EVENTS) for chain in sorted(world.chains, key=lambda chain: chain.workspace_id)]
    lines_of = Jsonl(Region.US, verification=True)
    text = b""
    async with _reading(servers, archive) as read, aclosing(read.read(_caller(world), _ANY, scope, None)) as batches:
        async for batch in batches:
            text += lines_of.encode(batch)
            if moment == 0:
                await world.purge()
                await store(world.superuser, world.chains[0], world.chains[0].events(4))
            moment -= 1
    assert text == lines(stored)
    assert (await world.get(f"/{export}/download")).content == lines(stored)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE archive_part SET expiring_at = now() WHERE id = $1", "UPDATE archive_range SET part_id = NULL WHERE part_id = $1"],
    ids=["past its archive retention", "of a plan without archive"],
)
async def test_an_export_whose_events_are_gone_is_never_shorter(
    world: World, archive: Archive, servers: LocalStack, statement: str
) -> None:
    """Known before, it is refused before a byte is sent; found out while it is read, it is broken off."""
    part = await world.archive(archive)
    export = await world.made()
    await world.purge()
    scope = [Run(world.chains[0].workspace_id, 1, EVENTS)]
    await world.superuser.execute(statement, part)
    answer = await world.get(f"/{export}/download")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert (await world.job(export))["status"] == "PENDING"
    async with _reading(servers, archive) as read:
        with pytest.raises(EventsGone):
            [batch async for batch in read.read(_caller(world), _ANY, scope, None)]
    assert await world.exported(source="HOT_AND_ARCHIVED") == lines(world.stored(ARCHIVED))


@pytest.mark.parametrize("missing", [range(1, 4), range(3, 4), range(EVENTS, EVENTS + 1), range(1, EVENTS + 1)], ids=str)
@pytest.mark.parametrize("page", [5, 2000])
async def test_events_that_are_missing_are_never_passed_over(
    world: World, archive: Archive, servers: LocalStack, monkeypatch: pytest.MonkeyPatch, missing: range, page: int
) -> None:
    """Neither at an edge of a page nor where a whole one is missing; and not as if time had taken them."""
    monkeypatch.setattr(source, "PAGE_ROWS", page)
    workspace = world.chains[0].workspace_id
    async with world.superuser.transaction():
        await world.superuser.execute("SET LOCAL session_replication_role = replica")
        await world.superuser.execute("DELETE FROM events WHERE workspace_id = $1 AND seq = ANY($2::bigint[])", workspace, list(missing))
    async with _reading(servers, archive) as read:
        with pytest.raises(ChainBroken):
            [batch async for batch in read.read(_caller(world), _ANY, [Run(workspace, 1, EVENTS)], None)]
    export = await world.made()
    with pytest.raises(httpx.RemoteProtocolError):
        await world.get(f"/{export}/download")
    job = await world.job(export)
    assert (job["status"], job["reason"]) == ("FAILED", "CHAIN_BROKEN")


LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
_ANY = ExportFilters().filter(None, None)


@asynccontextmanager
async def _reading(servers: LocalStack, archive: Archive) -> AsyncIterator[Source]:
    """What an API process reads exports from."""
    url = servers.settings(Role.API).database_url(Region.US)
    async with await open_pool(url, application_name="test-exports", region=Region.US, max_size=2) as pool:
        with ThreadPoolExecutor(1) as threads:
            archives = Archives({Region.US: archive.objects}, archive.data_keys, threads)
            yield Source(Store({Region.US: pool}, Metrics(CollectorRegistry())), archives)


def _caller(world: World) -> Principal:
    return Principal("", Region.US, Scope.COMPANY, str(world.tenant.id), None, None, LIMITS)
