"""Ingest and the API in the test's own process, with settings of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
from prometheus_client import CollectorRegistry

from api.app import create_app as create_api
from ingest.app import create_app as create_ingest
from ops.local.environment import Role
from tests.support.serving import served
from tests.support.stack import LocalStack

_READY_SECONDS = 20.0


@asynccontextmanager
async def ingest(stack: LocalStack, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an ingest process of its own."""
    chosen = stack.settings(Role.INGEST).model_copy(update=settings)
    async with served(create_ingest(chosen, registry=CollectorRegistry())) as client:
        async with asyncio.timeout(_READY_SECONDS):
            while (await client.get("/ready")).status_code != 200:  # until its producers are connected
                await asyncio.sleep(0.05)
        yield client


@asynccontextmanager
async def api(stack: LocalStack, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a query API of its own."""
    async with served(create_api(stack.settings(Role.API).model_copy(update=settings))) as client:
        yield client


def bearer(key: str | None, **more: str) -> dict[str, str]:
    """The headers of a request with that key."""
    return {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in more.items()}}


async def execute(stack: LocalStack, statement: str, *arguments: object) -> Any:
    """Run a statement on the US database as one who may do anything; its first value."""
    connection = await asyncpg.connect(stack.superuser_url())
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()
