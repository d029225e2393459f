"""Every query of every SQL file is PREPAREd on the migrated database: names, types and columns are right."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from ops.db import load_queries
from ops.rows import EVENT_COLUMNS
from tests.support.stack import LocalStack

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "ingest", "ops", "sinks", "streams")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.sql")) if "migrations" not in path.parts]
QUERIES = [
    (path.relative_to(ROOT), name, query)
    for path in FILES
    for name, query in load_queries(".".join(path.relative_to(ROOT).parts[:-1]), path.name).items()
]


@pytest.mark.parametrize(("path", "name", "query"), QUERIES, ids=[f"{path}:{name}" for path, name, _ in QUERIES])
async def test_each_query_prepares(servers: LocalStack, path: Path, name: str, query: str) -> None:
    connection = await asyncpg.connect(servers.superuser_url())
    try:
        statement = await connection.prepare(query)
        columns = ", ".join(attribute.name for attribute in statement.get_attributes())
        # Whatever reads commitments is read by `to_stored`, which counts columns.
        assert "commitments" not in columns or columns.startswith(EVENT_COLUMNS) or path.parts[0] == "ops"
    finally:
        await connection.close()
