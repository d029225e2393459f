"""``hyrelog verify`` as the operator runs it: what it prints, and what it exits with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from ops.db import use_micros
from ops.local.environment import Role, service_environ
from schemas.topics import Region
from tests.support.chains import Chain, store
from tests.support.commanding import Completed, run_here
from tests.support.stack import LocalStack


def verify(servers: LocalStack, *arguments: str, **environ: str) -> Completed:
    """Run the command in the auditor's role."""
    return run_here(servers.state.root, ("verify", *arguments), service_environ(servers.state, Role.AUDITOR) | environ)


async def execute(servers: LocalStack, sql: str, chain: Chain | None = None) -> None:
    """Change the UK's database as a superuser, and store a chain of three."""
    connection = await asyncpg.connect(servers.superuser_url(Region.UK))
    await use_micros(connection)
    await connection.execute("SET session_replication_role = replica")
    if chain is not None:
        await store(connection, chain, chain.events(3))
    await connection.execute(sql)
    await connection.close()


@pytest.fixture
def chain(servers: LocalStack) -> Iterator[Chain]:
    tenant = servers.tenant(Region.UK)
    chain = Chain(str(tenant.id), str(tenant.workspaces[0].id), Region.UK)
    asyncio.run(execute(servers, "SELECT 1", chain))
    yield chain
    asyncio.run(execute(servers, "TRUNCATE events, chain_head"))


def test_whole_chains_exit_with_0_and_are_counted(servers: LocalStack, chain: Chain) -> None:
    done = verify(servers, "--region", "UK")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("UK: 3 events of 1 workspaces in ")
    assert done.out.endswith(": intact\n")


def test_a_broken_chain_exits_with_1_and_is_named(servers: LocalStack, chain: Chain) -> None:
    asyncio.run(execute(servers, "UPDATE events SET action = 'forged' WHERE seq = 2"))
    done = verify(servers, "--workspace", chain.workspace_id)
    assert done.code == 1
    assert f"workspace {chain.workspace_id} seq 2 hash: " in done.err
    assert "NOT intact" in done.out


def test_without_a_database_it_exits_with_2_and_never_says_intact(servers: LocalStack) -> None:
    done = verify(servers, "--region", "AU", DATABASE_URL_AU="postgresql://x@127.0.0.1:1/x")
    assert done.code == 2
    assert "AU: can't tell" in done.err
    assert "intact" not in done.out


def test_a_workspace_without_a_chain_is_no_yes(servers: LocalStack) -> None:
    done = verify(servers, "--workspace", "0190a000-0000-7000-8000-00000000000a")
    assert (done.code, done.out) == (3, "")
    assert "has no chain here" in done.err


def test_the_topic_is_walked_when_asked(servers: LocalStack) -> None:
    done = verify(servers, "--region", "AU", "--topic")
    assert (done.code, done.out[: len("AU: 0 events of 0 workspaces, 0 repeats")]) == (
        0,
        "AU: 0 events of 0 workspaces, 0 repeats",
    )
