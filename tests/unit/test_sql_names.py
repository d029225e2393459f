"""Every SQL file keeps the form in which its queries are found, and every statement on events knows whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.db import load_queries

ROOT = Path(__file__).parents[2]
LAYERS = ("api", "ingest", "streams", "ops", "sinks")
FILES = sorted(path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.sql"))
QUERY_FILES = [path for path in FILES if "migrations" not in path.parts]
OPERATORS = Path("api/dashboard/admin/queries.sql")
"""In a role of its own."""
TENANTS_FILES = [path for path in QUERY_FILES if path.parts[0] in ("api", "ingest") and path != OPERATORS]
SOURCES = sorted({path.relative_to(ROOT) for layer in LAYERS for path in (ROOT / layer).rglob("*.py")} | set(FILES))
NOBODYS = ("rejections_of_region", "source_standing", "sweep_claims", "lock_company", "lock_downloads", "hold_sink", "notify_dispatchers")
"""The operator's, of which a function says what they may see (ops/docs/tenancy.md); of partitions and age, which are no tenant's; and
locks and notices, which read nothing.
"""


def _queries(path: Path) -> Mapping[str, str]:
    return load_queries(".".join(path.parts[:-1]), path.name)


def test_the_query_files_are_found() -> None:
    assert Path("api/queries.sql") in QUERY_FILES


@pytest.mark.parametrize("path", QUERY_FILES, ids=str)
def test_each_query_has_a_name_and_a_reason(path: Path) -> None:
    assert _queries(path)


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in TENANTS_FILES for name in _queries(path)])
def test_each_statement_of_a_tenants_request_names_the_company(path: Path, name: str) -> None:
    """Row-level security is the second wall, not the first; and for ingest there is no second."""
    query = _queries(path)[name]
    names_it = re.search(
        r"company_id = \$\d|USING \(\w+, company_id|\.company_id = w\.|INSERT INTO \w+( AS \w+)? \([^)]*company_id|c\.id = \$1", query
    )
    assert names_it or name in NOBODYS


@pytest.mark.parametrize("name", ["event_by_id", "event_by_alias", "rejection_by_id"])
def test_reads_by_id_name_the_workspace_too(name: str) -> None:
    assert "workspace_id = $" in load_queries("api")[name]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_whom_a_connection_works_for_is_never_set_for_a_session(path: Path) -> None:
    """A session's setting outlives the request, in whoever gets the connection next."""
    text = (ROOT / path).read_text()
    assert not re.search(r"\bSET\s+(SESSION\s+)?[\"']?hyrelog\.", text, re.IGNORECASE)
    assert set(re.findall(r"set_config\('hyrelog[^)]*?(\w+)\)", text)) <= {"true"}
