"""The yardstick: it gives what HyreLog gave, takes what HyreLog takes, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ops.local.ports import pick
from tests.bench.echo import EchoError, echoing, response_to
from tests.bench.load import Poster
from tests.bench.workload import body, request

BODY = '{"id":"0198c0de-0000-7000-8000-000000000001"}'


@asynccontextmanager
async def hyrelog(status: int) -> AsyncIterator[int]:
    """A server that answers as HyreLog does; its port."""

    async def accept(asked: web.Request) -> web.Response:
        assert await asked.read() == body(1, 1)
        return web.Response(status=status, text=BODY, content_type="application/json", headers={"X-Trace-Id": "ab" * 16})

    app = web.Application()
    app.router.add_post("/v1/events", accept)
    runner, port = web.AppRunner(app), pick()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    (tmp_path / "1").write_bytes(request("hlk_us_ws_" + "0" * 48, body(1, 1), batch=1))
    return tmp_path


async def test_the_same_bytes_go_in_and_out(requests: Path) -> None:
    async with hyrelog(202) as port, echoing(port, requests, Poster()) as echo:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{echo.port}/v1/events", data=b"x" * 1_000_000) as answer,
        ):
            assert (answer.status, await answer.text()) == (202, BODY)
            assert answer.headers["X-Trace-Id"] == "ab" * 16
            assert len(answer.headers.getall("Date")) == 1
        window = await echo.window(requests, 0.3, 2)
    assert window.rate > 0
    assert window.cpu > 0


async def test_a_refusal_is_nothing_to_copy(requests: Path) -> None:
    async with hyrelog(429) as port:
        with pytest.raises(EchoError, match="429"):
            await asyncio.to_thread(response_to, port, (requests / "1").read_bytes())
