"""Clients that are slow, stop in the middle or use another method, on ingest by itself: an answer in time, and nothing stored."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry

from ingest.app import create_app
from ops.local.environment import Role
from tests.support.posting import BATCH, SINGLE
from tests.support.serving import served
from tests.support.stack import LocalStack

GOOD = b'{"category":"auth","action":"login"}'


@dataclass
class Site:
    """Ingest with little patience, and a workspace whose seq tells what was stored."""

    client: httpx.AsyncClient
    key: str
    seq: int = 0

    def head(self, *headers: str, path: str = SINGLE) -> bytes:
        lines = (f"POST {path} HTTP/1.1", "Host: test", f"Authorization: Bearer {self.key}", "Content-Type: application/json", *headers)
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        address = urlsplit(str(self.client.base_url))
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def nothing_was_stored(self) -> bool:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Prefer": "wait=30"}
        answer = await self.client.post(SINGLE, content=GOOD, headers=headers, timeout=40)
        assert answer.status_code == 201, answer.text
        before, self.seq = self.seq, answer.json()["seq"]
        return self.seq == before + 1


@pytest.fixture
async def site(stack: LocalStack) -> AsyncIterator[Site]:
    key = stack.tenant().workspaces[0].key
    assert key is not None
    settings = stack.settings(Role.INGEST).model_copy(update={"body_timeout_seconds": 0.3})
    async with served(create_app(settings, registry=CollectorRegistry())) as client:
        site = Site(client, key)
        deadline = asyncio.get_running_loop().time() + 30
        while (await client.get("/ready")).status_code != 200:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        yield site


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
    return int(head.split(" ")[1]), json.loads(await reader.readexactly(int(lengths[0])))


@pytest.mark.parametrize("path", [SINGLE, BATCH])
async def test_a_body_that_stops_coming_is_408(site: Site, path: str) -> None:
    async with site.connection() as (reader, writer):
        writer.write(site.head(f"Content-Length: {len(GOOD)}", path=path) + GOOD[:-1])
        status, problem = await asyncio.wait_for(answer_of(reader), 10)
    assert (status, problem["code"]) == (408, "REQUEST_TIMEOUT")
    assert await site.nothing_was_stored()


async def test_a_body_that_never_begins_is_408(site: Site) -> None:
    async with site.connection() as (reader, writer):
        writer.write(site.head("Content-Length: 10"))
        status, problem = await asyncio.wait_for(answer_of(reader), 10)
    assert (status, problem["code"]) == (408, "REQUEST_TIMEOUT")


async def test_a_body_that_drips_is_408(site: Site) -> None:
    async with site.connection() as (reader, writer):
        writer.write(site.head("Transfer-Encoding: chunked"))
        dripping = asyncio.create_task(_drip(writer))
        status, problem = await asyncio.wait_for(answer_of(reader), 10)
        dripping.cancel()
    assert (status, problem["code"]) == (408, "REQUEST_TIMEOUT")


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)


async def test_a_client_that_leaves_in_the_middle_stores_nothing(site: Site) -> None:
    for headers, body in (
        ((f"Content-Length: {len(GOOD)}",), GOOD[:-1]),
        (("Transfer-Encoding: chunked",), b"%x\r\n%b\r\n" % (len(GOOD), GOOD)),
        (("Content-Length: 1000",), GOOD),
        (("Content-Length: 5",), b""),
    ):
        async with site.connection() as (_, writer):
            writer.write(site.head(*headers) + body)
            await writer.drain()
    assert await site.nothing_was_stored()


async def test_a_body_in_many_pieces_is_one_event(site: Site) -> None:
    async with site.connection() as (reader, writer):
        writer.write(site.head("Transfer-Encoding: chunked"))
        for byte in GOOD:
            writer.write(b"1\r\n%c\r\n" % byte)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status, _ = await asyncio.wait_for(answer_of(reader), 10)
    assert status == 202


async def test_chunks_without_end_are_cut_at_the_limit(site: Site) -> None:
    async with site.connection() as (reader, writer):
        writer.write(site.head("Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                writer.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
                await writer.drain()
        status, problem = await asyncio.wait_for(answer_of(reader), 10)
    assert (status, problem["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert await site.nothing_was_stored()


async def test_a_nul_in_a_header_goes_no_further_than_the_server(site: Site) -> None:
    """A user agent is stored without being checked for it, and PostgreSQL's text can't hold it."""
    async with site.connection() as (reader, writer):
        writer.write(site.head(f"Content-Length: {len(GOOD)}", "User-Agent: a\0b") + GOOD)
        status = int((await asyncio.wait_for(reader.readline(), 10)).split()[1])
    assert status == 400
    assert await site.nothing_was_stored()


@pytest.mark.parametrize("path", [SINGLE, BATCH])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405(site: Site, method: str, path: str) -> None:
    answer = await site.client.request(method, path, headers={"x-trace-id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert answer.json() == {
            "error": "The method is not allowed here.",
            "code": "METHOD_NOT_ALLOWED",
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        }


async def test_waiting_ends_with_202_when_the_time_is_over(stack: LocalStack, site: Site) -> None:
    """The event is safe, and stored as soon as there is a worker again."""
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json", "Prefer": "wait=1"}
    await asyncio.to_thread(stack.parts.stop, "worker-1")
    try:
        answer = await site.client.post(SINGLE, content=GOOD, headers=headers, timeout=40)
    finally:
        await asyncio.to_thread(stack.parts.start, "worker-1")
        await asyncio.to_thread(stack.parts.wait_ready, "worker-1")
    assert (answer.status_code, answer.json()["status"]) == (202, "ACCEPTED")
    assert "preference-applied" not in answer.headers
    site.seq = 1
    assert await site.nothing_was_stored()
