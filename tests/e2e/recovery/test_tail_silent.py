"""Clients that open a tail and read nothing of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from time import monotonic
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.stack import LocalStack
from tests.support.tailed import Site
from tests.support.tailing import PATH

STOPS_WITHIN = 12
"""Seconds: streams have five, and the server must not wait until its patience of 20 ends."""


@pytest.fixture
async def site(stack: LocalStack) -> AsyncIterator[Site]:
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=40) as client:
        site = Site(stack, stack.tenant(workspaces=1), client)
        await site.fill(0, 4, 50, {"metadata": {"text": "x" * 20_000}})
        await site.store()
        yield site


@contextmanager
def silent(site: Site) -> Iterator[None]:
    """Ask for all that is stored."""
    url = urlsplit(site.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((url.hostname, url.port))
        head = f"GET {PATH}?since=2020-01-01T00:00:00Z HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.tenant.key}\r\n\r\n"
        connection.sendall(head.encode())
        yield


async def until_open(site: Site, count: int) -> None:
    """Wait until the process says that so many are open."""
    headers = {"x-internal-token": site.stack.internal_token}
    async with asyncio.timeout(20):
        while f'hyrelog_tail_clients{{region="US"}} {count}.0' not in (await site.client.get("/internal/metrics", headers=headers)).text:
            await asyncio.sleep(0.1)


async def test_one_loses_its_place_with_its_key(site: Site) -> None:
    with silent(site):
        await until_open(site, 1)
        site.sql("UPDATE api_key SET revoked_at = now() WHERE company_id = %s", site.tenant.id)
        await until_open(site, 0)


async def test_nobody_waits_for_one_when_the_process_is_told_to_end(site: Site, stack: LocalStack) -> None:
    with silent(site):
        await until_open(site, 1)
        begun = monotonic()
        await asyncio.to_thread(stack.parts.stop, "gateway")
        assert monotonic() - begun < STOPS_WITHIN
