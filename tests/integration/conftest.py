"""The servers alone: Kafka, PostgreSQL and the object store. Tests start in their own process what they need of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import pytest
import pytest_asyncio

from api.app import create_app
from ops.db import use_micros
from ops.local.environment import Role
from ops.local.stack import SERVERS
from tests.support.serving import served
from tests.support.stack import LocalStack, running_stack


@pytest.fixture(scope="package")
def servers() -> Iterator[LocalStack]:
    """Start the servers with empty topics, databases and buckets; one set for all tests of this folder."""
    with running_stack(only=SERVERS) as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def api_client(servers: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the API with the stack's own settings, once for all tests: what they look at is apart by company."""
    async with served(create_app(servers.settings(Role.API))) as client:
        yield client


@pytest.fixture
async def superuser(servers: LocalStack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect to the US database as one who may do anything."""
    connection = await asyncpg.connect(servers.superuser_url())
    await use_micros(connection)
    yield connection
    await connection.close()
