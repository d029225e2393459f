"""``hyrelog export`` and ``hyrelog verify FILE`` on a real API: half the events in the archive and purged, half in the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from typer.testing import CliRunner

from ops.cli import build
from ops.local.environment import inherited
from ops.verify.postgres import Auditor
from ops.verify.report import Report
from schemas.event import format_time
from schemas.topics import Region
from tests.support.archiving import Archive, archive_of
from tests.support.chains import SECOND
from tests.support.commanding import Completed
from tests.support.exporting import ARCHIVED, EVENTS, World, lines, world_of
from tests.support.managing import Database
from tests.support.stack import LocalStack

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def archive(servers: LocalStack, superuser: Database) -> AsyncIterator[Archive]:
    async with archive_of(servers, superuser) as archive:
        yield archive


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> World:
    return await world_of(servers, superuser, api_client)


async def export(world: World, directory: Path, *words: str, key: str | None = None) -> Completed:
    """Run the command in a process of its own, as the server's log is written in this one; with the company's key or another one."""
    access = {"HYRELOG_URL": str(world.api.base_url), "HYRELOG_COMPANY_KEY": key or world.tenant.key or ""}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "export", *words),
        env=inherited() | access | {"PYTHONPATH": str(ROOT), "COLUMNS": "500"},
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Completed(process.returncode, out.decode(), err.decode())


async def test_what_was_purged_and_what_is_left_come_out_as_unbroken_chains(world: World, archive: Archive, tmp_path: Path) -> None:
    part = await world.archive(archive)
    await world.purge()
    done = await export(world, tmp_path, "--source", "HOT_AND_ARCHIVED", "--verify", "-o", "x.jsonl")
    assert done.code == 0, done.err
    assert (tmp_path / "x.jsonl").read_bytes() == lines(world.stored())
    assert f"x.jsonl: {2 * EVENTS} events in " in done.out
    assert "intact, an unbroken chain of each workspace and as its manifest says" in done.out

    (tmp_path / "events.jsonl.gz").write_bytes(archive.objects.get((await archive.part(part)).key))
    told = CliRunner().invoke(build(), ["verify", str(tmp_path / "events.jsonl.gz"), str(tmp_path / "x.jsonl")])
    assert told.exit_code == 0, told.output
    assert f": {2 * ARCHIVED} events in " in told.stdout
    assert "an archive, intact" in told.stdout


async def test_what_purging_left_verifies_in_the_database(world: World, archive: Archive, superuser: Database) -> None:
    """Marked, archived and purged by the database's own functions, not by the test's rows."""
    await world.archive(archive)
    await world.purge()
    for chain in world.chains:
        report = Report(lambda _finding: None)
        await Auditor(superuser, Region.US, report, UUID(chain.workspace_id)).run(lambda _total: lambda _count: None)
        found = [finding for finding in report.findings if finding.field not in ("source_offset", "archive_day", "head.archive_day")]
        assert (found, report.workspaces) == ([], 1)


@pytest.mark.parametrize("format", ["CSV", "PARQUET"])
async def test_other_formats_are_what_their_manifest_says(world: World, tmp_path: Path, format: str) -> None:
    done = await export(world, tmp_path, "--format", format, "--verify", "-o", "x")
    assert done.code == 0, done.err
    assert f"x: {2 * EVENTS} events" in done.out
    assert "the file that its manifest is of" in done.out


async def test_a_filtered_export_verifies_event_by_event(world: World, tmp_path: Path) -> None:
    end = format_time(world.since + 10 * SECOND)
    words = ("--to", end, "--filter", "action=user.*", "--verify", "-o", "x")
    done = await export(world, tmp_path, *words, key=world.tenant.workspaces[0].key)
    assert done.code == 0, done.err
    assert "x: 10 events in " in done.out
    assert "it is filtered" in done.out


async def test_a_limit_cuts_and_both_say_so(world: World, tmp_path: Path) -> None:
    done = await export(world, tmp_path, "--limit", "7", "--verify", "-o", "x")
    assert done.code == 0, done.err
    assert done.out.count("cut at its limit") == 2


async def test_a_refusal_is_one_sentence(world: World, tmp_path: Path) -> None:
    done = await export(world, tmp_path, "--source", "ARCHIVED", "-o", "x")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("hyrelog: 400 Bad Request: ")
    assert done.err.count("\n") == 1
