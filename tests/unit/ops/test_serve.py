"""What each process that serves does besides."""

from __future__ import annotations

import asyncio
import resource
import signal

import pytest
import uvicorn

from ops import serve
from ops.serve import Message, Receive, Scope, Send, serving

PATIENCE = 5.0
LONG = 3600.0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody asks it anything."""
    message: Message = await receive()
    assert message["type"] == "lifespan.startup", scope
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def test_a_process_with_other_work_may_open_as_many_files_as_the_system_lets_it() -> None:
    """Each connection to an endpoint is one, and many systems begin at 1,024."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        async with serving(app, host="127.0.0.1", port=0):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


async def test_it_ends_when_told_without_looking_for_it_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_DATE_SECONDS", LONG)
    async with asyncio.timeout(PATIENCE):
        async with serving(app, host="127.0.0.1", port=0):
            pass


async def test_a_signal_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_DATE_SECONDS", LONG)
    server = serve._CalmServer(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    running = asyncio.create_task(server._serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:
            await asyncio.sleep(0.005)
        server.handle_exit(signal.SIGTERM, None)
        await running


async def test_the_date_of_answers_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn makes the header once a second, and answers with it meanwhile."""
    made = list[float]()

    def format_date(now: float, *, usegmt: bool) -> str:
        made.append(now)
        return "now"

    monkeypatch.setattr(serve, "_DATE_SECONDS", 0.001)
    monkeypatch.setattr("uvicorn.server.formatdate", format_date)
    async with asyncio.timeout(PATIENCE):
        async with serving(app, host="127.0.0.1", port=0):
            while len(made) < 3:
                await asyncio.sleep(0.005)
