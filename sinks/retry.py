"""Dead letters, tried again by an operator's decision once what they died of is mended: ``python -m sinks NAME --retry-dead``."""

from __future__ import annotations

from enum import StrEnum
from typing import Generic

from ops import decisions
from ops.settings import Settings
from schemas.event import StoredEvent
from schemas.topics import Region
from sinks.fates import Dead
from sinks.loop import Handle
from sinks.region import OpenStore
from sinks.store import Buried, Row, SinkStore, is_bad_data, open_sink_pool


class Fate(StrEnum):
    """What became of a letter. But for the dead, it is gone."""

    TAKEN = "taken"
    REFILLED = "to be compared with the chains by the sink"
    PURGED = "no longer in PostgreSQL"
    DEAD = "dead again"


async def retry_dead(
    name: str, handle: Handle[Row], open_store: OpenStore[Row], settings: Settings, region: Region, reason: str
) -> dict[Fate, int]:
    """Try all dead letters of a region, each in a transaction of its own; how many had which fate. The settings are the owner's.

    The sink may run meanwhile. Raises what Postgres raises when it is away: what was done until then is done.
    """
    pool = await open_sink_pool(settings.database_url(region), region, f"{name}-retry", 1)
    try:
        store = open_store(region, pool)
        async with store.transaction() as connection:
            target = {"id": f"{region}/{name}", "type": "sink"}
            detail = {"region": region.value, "sink": name, "reason": reason}
            await decisions.record(connection, "RETRY_DEAD", "dead-letters.retry", target, detail, region=region)
        return await _Retry(handle, store).all()
    finally:
        await pool.close()


class _Retry(Generic[Row]):
    def __init__(self, handle: Handle[Row], store: SinkStore[Row]) -> None:
        self._handle = handle
        self._store = store

    async def all(self) -> dict[Fate, int]:
        counts = dict.fromkeys(Fate, 0)
        last = 0
        while letters := await self._after(last):
            for letter in letters:
                counts[await self._one(letter)] += 1
            last = letters[-1].id
        return counts

    async def _after(self, last: int) -> list[Buried]:
        async with self._store.transaction() as connection:
            return await self._store.letters_after(connection, last)

    async def _one(self, letter: Buried) -> Fate:
        try:
            return await self._settle(letter)
        except Dead:
            return Fate.DEAD
        except Exception as error:
            if is_bad_data(error):
                return Fate.DEAD
            raise

    async def _settle(self, letter: Buried) -> Fate:
        store = self._store
        async with store.transaction() as connection:
            position = await store.lock_position(connection, letter.partition)  # nobody else writes for the partition now
            await store.forget_letter(connection, letter.id)
            if letter.workspace_id is None or letter.seq is None:
                if position is not None:
                    await store.put_position(connection, letter.partition, position.to_refill())
                return Fate.REFILLED
            if await store.is_taken(connection, letter.workspace_id, letter.seq):  # a mended sink came by a hole in front of it
                return Fate.TAKEN
            events = await store.events_after(connection, letter.workspace_id, letter.seq - 1, letter.seq, 1)
            if not events:
                return Fate.PURGED
            await store.insert(connection, [self._made(events[0])])
            return Fate.TAKEN

    def _made(self, event: StoredEvent) -> Row:
        try:
            return self._handle(event)
        except Exception as error:  # noqa: BLE001 - one event that the sink stumbles over must not stop the others
            raise Dead(type(error).__name__) from None
