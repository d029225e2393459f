"""The receiver of the webhooks' figures answers each delivery once, in its own way."""

from __future__ import annotations

import asyncio

import aiohttp

from ops.local.ports import pick
from tests.bench.helper import helper


async def test_deliveries_are_answered_by_their_path_and_counted() -> None:
    port = pick()
    async with helper("tests.bench.receiver", str(port)) as receiver, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        assert await receiver.ask("counts") == {}

        async def deliver(path: str) -> int:
            async with session.post(path, data=b"x" * 100_000) as answer:
                return answer.status

        assert await asyncio.gather(*(deliver("/fast/1") for _ in range(20)), deliver("/slow")) == [204] * 21
        hanging = asyncio.create_task(deliver("/hang"))
        while (counts := await receiver.ask("counts")).get("hang") != 1:
            await asyncio.sleep(0.01)
        hanging.cancel()
        assert counts == {"fast": 20, "slow": 1, "hang": 1}
        assert receiver.cpu_seconds() > 0
