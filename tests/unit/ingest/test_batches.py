"""Batches that wait outside of the workshop are bounded by their bytes."""

from __future__ import annotations

import asyncio

from ingest.batches import Room


async def test_who_finds_no_room_waits_until_there_is_enough() -> None:
    room = Room(10)
    await room.take(6)
    await room.take(3)
    waiting = asyncio.create_task(room.take(5))
    await asyncio.sleep(0)
    room.give(3)
    await asyncio.sleep(0)
    assert not waiting.done()
    room.give(6)
    async with asyncio.timeout(1):
        await waiting


async def test_who_leaves_takes_no_room() -> None:
    room = Room(10)
    await room.take(10)
    leaving = asyncio.create_task(room.take(1))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    room.give(10)
    async with asyncio.timeout(1):
        await room.take(10)
