"""The tail's clients of the bench count what they are told, however the network cuts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from tests.bench.helper import helper
from tests.support.sse import Connection, frame, sse_server


async def test_clients_note_what_they_were_told_and_up_to_where(tmp_path: Path) -> None:
    frames = [frame(str(seq), {"id": "x", "seq": seq, "metadata": {"a": "b" * 50_000}}) for seq in range(1, 4)]
    (tmp_path / "keys").write_text("one\ntwo\n")
    async with sse_server(Connection(b"retry: 1000\n\n" + b"".join(frames) + b"id: 4\n\n:\n", then="hold")) as server:
        async with helper("tests.bench.listener", server.url.rpartition(":")[2], str(tmp_path / "keys")) as listener:
            await listener.ask("open 4")
            while (counts := await listener.ask("counts"))["told"] < 12:
                await asyncio.sleep(0.01)
            assert (counts["asked"], counts["open"], counts["told"]) == (4, 4, 12)
            await listener.ask(f"save 4 {tmp_path}/seen")
        keys = {headers["authorization"] for _, headers in server.asked}
    assert keys == {"Bearer one", "Bearer two"}
    seen = orjson.loads((tmp_path / "seen").read_bytes())
    assert sorted(key for key, _ in seen) == [0, 0, 1, 1]
    for _, pieces in seen:
        assert pieces[-2] == 3
        assert sum(pieces[2::3]) == 3
        assert counts["first"] <= pieces[0] <= pieces[-3] <= counts["last"]


async def test_a_client_that_is_refused_is_not_open(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\n")
    async with (
        sse_server(Connection(status=401)) as server,
        helper("tests.bench.listener", server.url.rpartition(":")[2], str(tmp_path / "keys")) as listener,
    ):
        await listener.ask("open 1")
        while (counts := await listener.ask("counts"))["asked"] < 1:
            await asyncio.sleep(0.01)
        assert (counts["open"], counts["told"]) == (0, 0)
