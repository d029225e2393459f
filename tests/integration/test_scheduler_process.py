"""``hyrelog scheduler`` as a process: killed in the midst of a job, stopped politely, asked how it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from signal import SIGTERM

import httpx
import psycopg
import pytest

from ops.faults import EXIT_CODE
from ops.local.environment import Role, inherited, service_environ
from ops.local.ports import pick
from ops.local.process import wait_for
from schemas.topics import Region
from tests.support.stack import LocalStack

_PATIENCE = 30.0
_JOB = "cold-archive-marker"
_RUNS = "SELECT result FROM job_run WHERE name = %s ORDER BY started_at, id"


@pytest.fixture
def database(servers: LocalStack) -> Iterator[psycopg.Connection]:
    """The AU's, without a trace of jobs."""
    with psycopg.connect(servers.superuser_url(Region.AU), autocommit=True) as connection:
        connection.execute("DELETE FROM job_run")
        connection.execute("DELETE FROM job")
        yield connection


@pytest.fixture
def start(servers: LocalStack) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """Start a scheduler of the AU that runs one job each second, and the others next year; the process and its port."""
    with ExitStack() as exits:

        def start(**more: str) -> tuple[subprocess.Popen[bytes], int]:
            port = pick()
            own = {
                "REGIONS": "AU",
                "SCHEDULER_HTTP_PORT": str(port),
                "SCHEDULER_POLL_SECONDS": "0.1",
                "SCHEDULER_LEASE_SECONDS": "2",
                "JOB_SCHEDULES": f"{_JOB}=* * * * * *",
            }
            environment = inherited() | service_environ(servers.state, Role.SCHEDULER) | own | more
            command = [sys.executable, "-m", "ops", "scheduler"]
            process = exits.enter_context(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            exits.callback(process.kill)
            return process, port

        yield start


def _results(database: psycopg.Connection) -> list[str | None]:
    return [row[0] for row in database.execute(_RUNS, (_JOB,))]


def test_what_a_killed_process_began_another_one_ends(
    database: psycopg.Connection, start: Callable[..., tuple[subprocess.Popen[bytes], int]]
) -> None:
    killed, _ = start(FAULT_POINTS="job_claimed:1.0:1")
    assert killed.wait(_PATIENCE) == EXIT_CODE
    assert _results(database) == [None]
    start()
    assert wait_for(lambda: _results(database)[:2] == ["LOST", "SUCCEEDED"], _PATIENCE)


def test_it_tells_how_it_is_and_ends_when_told(
    servers: LocalStack, database: psycopg.Connection, start: Callable[..., tuple[subprocess.Popen[bytes], int]]
) -> None:
    process, port = start()
    assert wait_for(lambda: "SUCCEEDED" in _results(database), _PATIENCE)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        metrics = client.get("/internal/metrics", headers={"x-internal-token": servers.internal_token}).text
    assert f'hyrelog_job_failing{{job="{_JOB}",region="AU"}} 0.0' in metrics
    process.send_signal(SIGTERM)
    assert process.wait(_PATIENCE) == 0
    assert database.execute("SELECT count(*) FROM job WHERE run_id IS NOT NULL").fetchone() == (0,)


def test_a_schedule_that_is_none_stops_it_at_once(start: Callable[..., tuple[subprocess.Popen[bytes], int]]) -> None:
    for schedules in ("purgatory=0 0 * * *", "purge=daily"):
        process, _ = start(JOB_SCHEDULES=schedules)
        assert process.wait(_PATIENCE) == 1
