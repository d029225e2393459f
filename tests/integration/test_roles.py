"""``ops/docs/tenancy.md`` lists who may do what in the database, role by role: here it is held to the truth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

from ops.local.environment import Role
from tests.support.stack import LocalStack

_PAGE = Path(__file__).parents[2] / "ops/docs/tenancy.md"
_TENANTS = "hyrelog_api"
_AUDIT_READER = ("hyrelog_dashboard", "events")
_GRANTS = """
    SELECT r.rolname, c.relname, a.privilege_type, NULL
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND r.rolname <> 'hyrelog_owner'
    UNION ALL
    SELECT r.rolname, c.relname, a.privilege_type, t.attname
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN aclexplode(t.attacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relnamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3, 4
"""
_TO_EVERYBODY = """
    SELECT c.relname::text, a.privilege_type FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = 0
    UNION ALL
    SELECT t.attrelid::regclass::text, a.privilege_type FROM pg_attribute t CROSS JOIN aclexplode(t.attacl) a
    JOIN pg_class c ON c.oid = t.attrelid WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = 0
    UNION ALL
    SELECT p.oid::regprocedure::text, a.privilege_type
    FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace AND a.grantee = 0
"""
_FUNCTIONS = """
    SELECT p.oid::regprocedure::text, o.rolname, (
      SELECT coalesce(string_agg(r.rolname, ', ' ORDER BY r.rolname), 'nobody')
      FROM aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
      WHERE r.oid <> p.proowner)
    FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
    WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace
    ORDER BY 1
"""
_DEFINERS = """
    SELECT proowner FROM pg_proc
    WHERE prosecdef AND pronamespace = 'public'::regnamespace AND proowner <> 'hyrelog_owner'::regrole
"""
"""The owner's own function makes and drops tables: it has to be the owner's."""
_POLICIES = """
    SELECT unnest(roles)::text, tablename, policyname, qual, with_check FROM pg_policies WHERE schemaname = 'public'
"""
_UNWALLED = """
    SELECT c.relname FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND t.attname IN ('company_id', 'workspace_id') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
"""


@pytest.fixture(scope="module")
def database(servers: LocalStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(servers.superuser_url()) as connection:
        yield connection


def _rows(title: str, columns: int) -> set[tuple[str, ...]]:
    """The cells of the page's table under that heading."""
    section = _PAGE.read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^\| (`.*) \|$", section, re.MULTILINE)
    rows = {tuple(cell.strip(" `") for cell in line.split(" | ")) for line in lines}
    assert rows
    assert {len(row) for row in rows} == {columns}
    return rows


def _rights(grants: list[TupleRow]) -> str:
    """``SELECT, UPDATE (plan, overrides)``."""
    columns: dict[str, list[str]] = defaultdict(list)
    for _role, _table, right, column in grants:
        columns[right] += [column] if column else []
    return ", ".join(f"{right} ({', '.join(names)})" if names else right for right, names in columns.items())


def _whose(role: str, table: str, is_walled: bool, has_policy: bool) -> str:
    """Which rows of a table a role sees."""
    if not is_walled:
        return "all"
    if not has_policy:
        return "none"
    return "its tenant's" if role == _TENANTS else "the audit's" if (role, table) == _AUDIT_READER else "all"


def test_the_page_lists_each_roles_rights_on_each_table(database: psycopg.Connection) -> None:
    walled = {table for (table,) in database.execute("SELECT relname FROM pg_class WHERE relforcerowsecurity")}
    everybody = {(role, table) for role, table, *_ in database.execute(_POLICIES)}
    grants: dict[tuple[str, str], list[TupleRow]] = defaultdict(list)
    for row in database.execute(_GRANTS):
        grants[row[0], row[1]].append(row)
    expected = set()
    for (role, table), rights in grants.items():
        expected.add((role, table, _whose(role, table, table in walled, (role, table) in everybody), _rights(rights)))
    assert _rows("Rights", 4) == expected


def test_the_page_lists_what_reaches_over_the_walls(database: psycopg.Connection) -> None:
    assert _rows("Functions over the walls", 3) == set(database.execute(_FUNCTIONS))


def test_nothing_is_granted_to_everybody(database: psycopg.Connection) -> None:
    """What PUBLIC may do stands in no role's list."""
    assert database.execute(_TO_EVERYBODY).fetchall() == []


def test_only_tenants_have_policies_that_ask_who_they_are(database: psycopg.Connection) -> None:
    """And theirs all do; every other role's policy is for all rows, and listed. But who reads the audit sees no other events."""
    for role, table, name, qual, check in database.execute(_POLICIES):
        if (role, table) == _AUDIT_READER:
            assert "kind = 'AUDIT'" in qual
            continue
        if (role, table) == ("hyrelog_dashboard", "webhook"):
            assert (qual, check) == ("true", "(NOT enabled)")
            continue
        asks = all("tenant_company()" in part for part in (qual, check) if part is not None)
        assert asks == (role == _TENANTS), (table, name)
        assert asks or {qual, check} - {None} == {"true"}


def test_no_table_of_tenants_is_without_walls(database: psycopg.Connection) -> None:
    """A new table with a company's rows in it can't be forgotten."""
    assert database.execute(_UNWALLED).fetchall() == []


def test_the_chain_writer_alone_passes_by_the_walls(database: psycopg.Connection) -> None:
    query = "SELECT rolname, rolsuper FROM pg_roles WHERE rolsuper OR rolbypassrls"
    assert set(database.execute(query)) == {(Role.SUPERUSER, True), (Role.STREAMS, False)}


def test_nobody_logs_in_as_a_role_that_looks_over_the_walls(database: psycopg.Connection) -> None:
    """But the owner, who gave the functions away, might become one."""
    assert database.execute(f"SELECT rolname FROM pg_roles WHERE rolcanlogin AND oid IN ({_DEFINERS})".encode()).fetchall() == []
    query = f"SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE m.roleid IN ({_DEFINERS})"
    assert set(database.execute(query.encode())) == {(Role.OWNER,)}
