"""Fixtures of the tests that need the servers, but none of our processes beside what they start themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import asyncpg
import pytest

from ops.db import use_micros
from ops.local.stack import SERVERS
from tests.support.collector import Collector, collecting
from tests.support.stack import LocalStack, running_stack


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalStack]:
    """Kafka, PostgreSQL and the object store with empty topics, databases and buckets."""
    with running_stack(only=SERVERS) as running:
        yield running


@pytest.fixture(scope="session")
def traced_stack() -> Iterator[tuple[LocalStack, Collector]]:
    """Everything up, telling its spans to a collector."""
    with ExitStack() as exits:
        collector = exits.enter_context(collecting())
        with pytest.MonkeyPatch.context() as patch:  # other stacks are not to inherit it
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            running = exits.enter_context(running_stack())
        yield running, collector


@pytest.fixture
async def superuser(servers: LocalStack) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the US database that may do anything."""
    connection = await asyncpg.connect(servers.superuser_url())
    await use_micros(connection)
    yield connection
    await connection.close()
