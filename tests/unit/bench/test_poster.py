"""Our own load generator, against a server that answers what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.bench.load import Answer, LoadError, Poster
from tests.bench.stats import Percentiles
from tests.bench.workload import request

ID = "0190b2c0-0000-7000-8000-000000000000"
ACCEPTED = f'{{"id":"{ID}","status":"ACCEPTED"}}'


@asynccontextmanager
async def answering(status: str, content: str) -> AsyncIterator[int]:
    """Answers each request of a connection in two pieces, as a network may."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            whole = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n\r\n{content}".encode()
            writer.write(whole[:50])
            await writer.drain()
            writer.write(whole[50:])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    (tmp_path / "1").write_bytes(request("key", b"{}", batch=1))
    return tmp_path


async def posted(port: int, requests: Path, rate: float) -> list[Answer]:
    _, answers = await asyncio.to_thread(Poster().post, port, requests, 0.5, 4, rate)
    return answers


async def test_at_a_rate_each_request_is_sent_when_it_is_due(requests: Path) -> None:
    async with answering("202 Accepted", ACCEPTED) as port:
        answers = await posted(port, requests, rate=200)
    dues = sorted(answer.due for answer in answers)
    assert len(dues) == 100
    assert dues[-1] - dues[0] == pytest.approx(99 / 200, abs=1e-3)
    assert {answer.id for answer in answers} == {ID}
    assert all(answer.answered >= answer.due for answer in answers)


async def test_without_a_rate_each_answer_brings_the_next_request(requests: Path) -> None:
    async with answering("202 Accepted", ACCEPTED) as port:
        load = await asyncio.to_thread(Poster().run, port, requests, 0.5, 4)
    assert load.requests > 4
    assert load.latency > Percentiles(0, 0)
    assert load.cpu_seconds > 0


async def test_a_refusal_makes_the_figures_void(requests: Path) -> None:
    async with answering("503 Service Unavailable", "{}") as port:
        with pytest.raises(LoadError, match="503"):
            await posted(port, requests, rate=100)
