"""Every SQL file keeps the form in which its queries are found, and every statement on events knows whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.db import load_queries

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.glob("*/**/*.sql")
    if path.parts[len(ROOT.parts)] in ("api", "ingest", "streams", "ops", "sinks")
)
QUERY_FILES = [path for path in FILES if "migrations" not in path.parts]


def test_the_query_files_are_found() -> None:
    assert Path("api/queries.sql") in QUERY_FILES


@pytest.mark.parametrize("path", QUERY_FILES, ids=str)
def test_each_query_has_a_name_and_a_reason(path: Path) -> None:
    assert load_queries(".".join(path.parts[:-1]), path.name)


@pytest.mark.parametrize("name", ["event_by_id", "rejection_by_id", "workspace_events_desc", "workspace_events_asc"])
def test_reads_by_id_and_of_a_workspace_are_scoped_by_company(name: str) -> None:
    query = load_queries("api")[name]
    assert "company_id = $" in query
    assert "workspace_id = $" in query
