"""The embedded stack itself: nothing that is killed stays broken, nothing that runs is disturbed, no data is lost."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import psycopg
import pytest

from ops.kafka import Topic, describe
from ops.local import kafka
from ops.local.environment import Role
from ops.local.ports import is_free
from ops.local.process import wait_for
from ops.local.stack import SERVERS, SUPERVISOR, Stack
from ops.local.state import State
from ops.objects import client
from schemas.topics import Region, ingest_topic
from tests.support.stack import LocalStack, running_stack

pytestmark = pytest.mark.skipif(os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers", reason="about the embedded servers")


@pytest.fixture(scope="module")
def servers() -> Iterator[LocalStack]:
    """A stack of servers only, which these tests may stop and kill."""
    with running_stack(only=SERVERS) as running:
        yield running


def _put(servers: LocalStack) -> None:
    settings = servers.settings(Role.API)
    client(settings).put_object(Bucket=settings.bucket(Region.UK), Key="kept", Body=b"kept")


def _got(servers: LocalStack) -> bytes:
    settings = servers.settings(Role.API)
    body: bytes = client(settings).get_object(Bucket=settings.bucket(Region.UK), Key="kept")["Body"].read()
    return body


def _topic(servers: LocalStack) -> Topic:
    return asyncio.run(describe(servers.settings(Role.STREAMS), Region.UK))[ingest_topic(Region.UK)]


def _companies(servers: LocalStack) -> list[tuple[str]]:
    with psycopg.connect(servers.superuser_url(Region.UK)) as connection:
        return connection.execute("SELECT name FROM company ORDER BY name").fetchall()


def test_killed_servers_come_back_with_their_data(servers: LocalStack) -> None:
    """Broker, database with open sessions, and store, all at once by kill -9."""
    servers.tenant(Region.UK)
    _put(servers)
    topic, companies = _topic(servers), _companies(servers)
    with closing(psycopg.connect(servers.superuser_url())) as open_session:
        open_session.execute("SELECT 1")
        for name in SERVERS:
            servers.parts.kill(name)
        assert [servers.parts.pid(name) for name in SERVERS] == [None, None, None]
        servers.parts.up(SERVERS)
    assert (_topic(servers), _companies(servers), _got(servers)) == (topic, companies, b"kept")
    assert companies


def test_what_runs_and_answers_is_left_alone(servers: LocalStack) -> None:
    before = [servers.parts.pid(name) for name in SERVERS]
    servers.parts.up(SERVERS)
    assert [servers.parts.pid(name) for name in SERVERS] == before


def test_stopping_and_starting_keeps_the_data(servers: LocalStack) -> None:
    topic = _topic(servers)
    servers.parts.down()
    assert all(is_free(servers.state.port(name)) for name in SERVERS)
    servers.parts.up(SERVERS)
    assert _topic(servers) == topic


def test_a_frozen_part_is_replaced(servers: LocalStack) -> None:
    frozen = servers.parts.pid("s3")
    servers.parts.kill("s3", SIGSTOP)
    servers.parts.up(SERVERS)
    assert servers.parts.pid("s3") != frozen
    assert servers.parts.is_ready("s3")


def test_a_port_taken_by_somebody_else_is_given_up(servers: LocalStack) -> None:
    servers.parts.stop("s3")
    taken = servers.state.port("s3")
    with socket.create_server(("127.0.0.1", taken)):
        servers.parts.up(SERVERS)
        assert servers.state.port("s3") != taken
        assert servers.parts.is_ready("s3")


def test_the_demo_file_tells_no_one_else(servers: LocalStack) -> None:
    file = servers.state.root / "demo.env"
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"HYRELOG_KAFKA=127.0.0.1:{servers.state.port('kafka')}" in file.read_text().splitlines()


def test_no_password_is_on_a_command_line(servers: LocalStack) -> None:
    """Every user of the machine can read those."""
    lines = [" ".join(process.cmdline()) for name in SERVERS if (process := servers.parts.runners[name].process())]
    secrets = [servers.state.secret(name) for name in ("s3", f"postgres.{Role.SUPERUSER}", "internal_token", "api_key_secret")]
    assert len(lines) == len(SERVERS)
    assert not [line for line in lines for secret in secrets if secret in line]


@pytest.fixture
def supervised(servers: LocalStack) -> Iterator[Stack]:
    """The same stack with a supervisor on it."""
    stack = Stack(State(servers.state.root))
    stack.up([*SERVERS, SUPERVISOR])
    yield stack
    stack.stop(SUPERVISOR)


def test_the_supervisor_restarts_what_ends(supervised: Stack) -> None:
    killed = supervised.pid("s3")
    supervised.kill("s3")
    assert wait_for(lambda: supervised.is_ready("s3"), 15)
    assert supervised.pid("s3") != killed


def test_a_killed_supervisor_is_healed_by_up(supervised: Stack) -> None:
    killed = supervised.pid(SUPERVISOR)
    supervised.kill(SUPERVISOR, SIGKILL)
    supervised.up([*SERVERS, SUPERVISOR])
    assert supervised.pid(SUPERVISOR) not in (None, killed)


def test_a_cluster_id_that_begins_with_a_dash_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 does, and Kafka's own tool would take it for an option."""
    monkeypatch.setattr(State, "secret", lambda _state, _name: "f8" + "ab" * 31)
    kafka.part(State(tmp_path, fixed_ports=False)).command()
    assert "cluster.id=-" in next(tmp_path.rglob("meta.properties")).read_text()
