"""Migrations: safe beside one another, honest about what is missing; and what each role may do afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors, sql
from typer.testing import CliRunner

from ops.cli import build
from ops.local.environment import GROUP_ROLES, Role, database_url
from ops.migrate import MigrationError, is_current, migrate
from schemas.topics import Region
from tests.support.stack import LocalStack

_CHANGES = ("UPDATE {} SET received_at = now()", "DELETE FROM {}", "TRUNCATE {}")
_READERS = (Role.INGEST, Role.API, Role.AUDITOR)
_WRITES = {
    "company": "INSERT INTO company (id, name, plan) VALUES (uuidv7(), 'x', 'FREE')",
    "api_key": "UPDATE api_key SET name = name",
    "chain_head": "UPDATE chain_head SET seq = seq",
    "source": "UPDATE source SET next_offset = next_offset",
    "events": "INSERT INTO events (seq) VALUES (1)",
    "rejected": "INSERT INTO rejected (reason) VALUES ('x')",
    "operator_decision": "INSERT INTO operator_decision (decided_by, action, detail) VALUES ('x', 'x', '{}')",
    "database_region": "UPDATE database_region SET is_demo = false",
}


@contextmanager
def _empty_database(servers: LocalStack) -> Iterator[str]:
    name = f"scratch_{uuid.uuid4().hex}"
    with psycopg.connect(servers.superuser_url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(Role.OWNER)))
        yield name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def url(servers: LocalStack) -> Iterator[str]:
    """An empty database, as its owner."""
    with _empty_database(servers) as name:
        yield database_url(servers.state, Role.OWNER, name)


@pytest.fixture(scope="module")
def migrated(servers: LocalStack) -> Iterator[str]:
    """The name of a migrated database that holds one event and one rejection, which nobody can change."""
    with _empty_database(servers) as name:
        migrate(database_url(servers.state, Role.OWNER, name), Region.EU)
        _fill(database_url(servers.state, Role.STREAMS, name))
        yield name


def _fill(url: str) -> None:
    with psycopg.connect(url) as writer:
        writer.execute(
            """INSERT INTO events (seq, source_offset, occurred_at, received_at, id, company_id, workspace_id, trace_id,
                 source_partition, source_index, archive_day, prev_hash, hash, commitments, category, action)
               VALUES (1, 0, now(), now(), uuidv7(), uuidv7(), uuidv7(), uuidv7(), 0, 0, current_date, '', '', '', 'auth', 'login')"""
        )
        writer.execute(
            """INSERT INTO rejected (source_partition, source_offset, source_index, reason, detail, rejected_at, original)
               VALUES (0, 1, -1, 'UNREADABLE', '', now(), '')"""
        )
        writer.execute("INSERT INTO event_key SELECT workspace_id, 'k', company_id, seq, id, '' FROM events")
        writer.execute("INSERT INTO event_alias SELECT uuidv7(), company_id, workspace_id, seq, id, 0, 0, 0, now() FROM events")


def test_an_empty_database_is_behind_and_a_migrated_one_is_not(url: str) -> None:
    assert not is_current(url, Region.EU)
    migrate(url, Region.EU)
    assert is_current(url, Region.EU)


def test_several_at_once_do_it_once(url: str) -> None:
    """A deployment starts many instances, and each migrates first."""
    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(lambda _: migrate(url, Region.EU), range(4)))
    assert len(set(revisions)) == 1
    assert is_current(url, Region.EU)


def test_running_it_again_changes_nothing(url: str) -> None:
    assert migrate(url, Region.EU) == migrate(url, Region.EU)


def test_the_database_remembers_its_region(url: str) -> None:
    migrate(url, Region.EU, is_demo=True)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT region, is_demo FROM database_region").fetchall() == [("EU", True)]


def test_another_regions_database_is_refused(url: str) -> None:
    """Two mixed up settings must not mix two regions' data."""
    migrate(url, Region.EU)
    with pytest.raises(MigrationError, match="given for US is that of EU"):
        migrate(url, Region.US)
    with pytest.raises(MigrationError, match="given for US is that of EU"):
        is_current(url, Region.US)


@pytest.mark.parametrize("role", GROUP_ROLES)
@pytest.mark.parametrize("statement", _CHANGES)
@pytest.mark.parametrize("table", ["events", "rejected"])
def test_no_service_can_change_what_is_stored(servers: LocalStack, migrated: str, role: Role, statement: str, table: str) -> None:
    denied = pytest.raises(errors.InsufficientPrivilege, match="permission denied")
    with psycopg.connect(database_url(servers.state, role, migrated)) as service, denied:
        service.execute(statement.format(table).encode())


@pytest.mark.parametrize("statement", _CHANGES)
@pytest.mark.parametrize("table", ["events", "rejected"])
def test_a_trigger_stops_even_the_owner(servers: LocalStack, migrated: str, statement: str, table: str) -> None:
    with (
        psycopg.connect(database_url(servers.state, Role.OWNER, migrated)) as owner,
        pytest.raises(errors.InsufficientPrivilege, match="append-only"),
    ):
        owner.execute(statement.format(table).encode())


@pytest.mark.parametrize("statement", _CHANGES)
@pytest.mark.parametrize("table", ["events", "event_key", "event_alias"])
def test_it_stops_a_superuser_who_does_not_switch_it_off(servers: LocalStack, migrated: str, statement: str, table: str) -> None:
    """Events leave by purge_events() alone, and what leads to them with them."""
    with (
        psycopg.connect(database_url(servers.state, Role.SUPERUSER, migrated)) as superuser,
        pytest.raises(errors.InsufficientPrivilege, match="append-only"),
    ):
        superuser.execute(statement.format(table).replace("received_at = now()", "workspace_id = workspace_id").encode())


@pytest.mark.parametrize("role", [role for role in GROUP_ROLES if role is not Role.SCHEDULER])
def test_the_scheduler_alone_asks_for_purging(servers: LocalStack, migrated: str, role: Role) -> None:
    with psycopg.connect(database_url(servers.state, role, migrated)) as service, pytest.raises(errors.InsufficientPrivilege):
        service.execute("SELECT purge_events(uuidv7(), 1, 1)")


def test_what_is_not_marked_is_purged_for_nobody(servers: LocalStack, migrated: str) -> None:
    """Whoever takes the scheduler over can remove nothing that is not archived, verified and on record."""
    with psycopg.connect(database_url(servers.state, Role.SCHEDULER, migrated)) as scheduler:
        (workspace,) = scheduler.execute("SELECT workspace_id FROM events").fetchone() or (None,)
        with pytest.raises(errors.ObjectNotInPrerequisiteState):
            scheduler.execute("SELECT purge_events(%s, 1, 1)", (workspace,))


@pytest.mark.parametrize("role", _READERS)
@pytest.mark.parametrize("table", _WRITES)
def test_readers_write_nothing(servers: LocalStack, migrated: str, role: Role, table: str) -> None:
    with psycopg.connect(database_url(servers.state, role, migrated)) as service, pytest.raises(errors.InsufficientPrivilege):
        service.execute(_WRITES[table])


@pytest.mark.parametrize("table", ["company", "api_key", "operator_decision", "database_region"])
def test_the_chain_writer_writes_only_chains(servers: LocalStack, migrated: str, table: str) -> None:
    with psycopg.connect(database_url(servers.state, Role.STREAMS, migrated)) as writer, pytest.raises(errors.InsufficientPrivilege):
        writer.execute(_WRITES[table])


def test_ingest_reads_events_for_those_who_wait_for_theirs(servers: LocalStack, migrated: str) -> None:
    with psycopg.connect(database_url(servers.state, Role.INGEST, migrated)) as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchall() == [(1,)]


def test_the_auditor_reads_chains_and_no_keys(servers: LocalStack, migrated: str) -> None:
    with psycopg.connect(database_url(servers.state, Role.AUDITOR, migrated)) as auditor:
        assert auditor.execute("SELECT count(*) FROM events").fetchall() == [(1,)]
        with pytest.raises(errors.InsufficientPrivilege):
            auditor.execute("SELECT key_hash FROM api_key")


def test_the_command_says_by_its_exit_code_whether_a_database_is_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment asks with ``--check`` before it lets new code in."""
    monkeypatch.setenv("DATABASE_URL_EU", url)
    monkeypatch.setenv("REGIONS", "EU")
    behind, migrating, current = (CliRunner().invoke(build(), ["migrate", *options]) for options in (["--check"], [], ["--check"]))
    assert (behind.exit_code, behind.output) == (1, "EU: behind\n")
    assert (migrating.exit_code, current.exit_code) == (0, 0)
    assert current.output == "EU: up to date\n"
