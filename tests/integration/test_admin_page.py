"""ops/docs/admin.md: every block of it is run, as it stands, from top to bottom."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from uuid import UUID

import asyncpg
import psycopg
import pytest

from ops.db import use_micros
from ops.local.environment import inherited
from schemas.restore import State
from schemas.topics import Region
from tests.support.commands import ROOT, Shell, walk
from tests.support.neighbours import cold_archive
from tests.support.quick import quick_hyrelog
from tests.support.restoring import put_request
from tests.support.stack import LocalStack

PAGE = ROOT / "ops/docs/admin.md"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the page pipes documents into jq")
def test_the_page_does_what_it_says(servers: LocalStack, tmp_path: Path) -> None:
    url = servers.superuser_url(Region.EU)
    environ = {"HYRELOG_STATE": str(servers.state.root), "COLUMNS": "200"}
    with quick_hyrelog(environ) as programs:
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        with Shell(inherited() | environ | {"PATH": path}, tmp_path) as shell:
            done = [output for _block, output in walk(PAGE, shell, {"two requests wait": lambda: asyncio.run(_ask_twice(url))})]
    assert len(done) > 10
    with psycopg.connect(url) as connection:
        decided = "DELETE FROM restore_request r USING company c WHERE c.id = r.company_id AND c.name = 'Initech' RETURNING state"
        assert sorted(connection.execute(decided).fetchall()) == [("CANCELLED",), ("REJECTED",)]


async def _ask_twice(url: str) -> None:
    """The newest of all, so that they come first in the list."""
    connection = await asyncpg.connect(url)
    await use_micros(connection)
    company = await connection.fetchval("SELECT id FROM company WHERE name = 'Initech' ORDER BY id DESC LIMIT 1")
    for last in "01":
        newest = UUID(f"ffffffff-ffff-7fff-bfff-fffffffffff{last}")
        archive = await cold_archive(connection, company, int(last) + 1)
        await put_request(connection, str(company), archive, "archives/x", State.PENDING, id=newest)
    await connection.close()
