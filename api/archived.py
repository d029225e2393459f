"""Single events out of the archive, once they are no longer in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.store import Store
from ops import log
from ops.archive.data_keys import DataKeys
from ops.archive.parts import Part, to_part
from ops.archive.reader import PartReader
from ops.auth import Principal
from ops.clock import Clock
from ops.db import load_queries
from ops.objects import Cold, NotThere, ObjectStore, StoreUnavailable
from schemas.event import StoredEvent
from schemas.ids import is_ours, received_at
from schemas.problems import RestoreRequired, Unavailable
from schemas.seal import Unopenable
from schemas.topics import Region

_LOG = log.get(__name__)
_AT_A_TIME = 4
"""Of a process. Each reads and unzips a block or two."""
_MILLISECOND = 1000


class _Sought(NamedTuple):
    """Where an event may be: by its id in any of the parts, or at a place of one."""

    parts: Sequence[Part]
    place: tuple[str, int] | None
    data_key: bytes


class Archived:
    """The archives of the regions, as single events are read from them."""

    def __init__(self, store: Store, objects: Mapping[Region, ObjectStore], data_keys: DataKeys, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._data_keys = data_keys
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._sql = load_queries("api")

    async def event(self, caller: Principal, event_id: str) -> StoredEvent | None:
        """The event, or the one that it repeats; ``None`` when no archive has it.

        Raises ``RestoreRequired`` when the archive that may have it is cold, ``Unavailable`` while the store can't answer.
        """
        sought = await self._sought(caller, event_id)
        if sought is None:
            return None
        now = self._clock.micros()
        warm = [part for part in sought.parts if part.can_be_read(now)]
        for part in warm:
            async with self._turns:
                found = await self._look(caller, part, sought, event_id)
            if found is not None:
                return found
        if len(warm) < len(sought.parts):
            raise RestoreRequired([part.id for part in sought.parts if part not in warm])
        return None

    async def _sought(self, caller: Principal, event_id: str) -> _Sought | None:
        scope = (caller.company_id, caller.workspace_id)
        async with self._store.reading_for(caller, "archived_event") as connection:
            row = await connection.fetchrow(self._sql["part_by_alias"], event_id, *scope)
            if row is not None:
                parts, place = [to_part(row)], (str(row["workspace_id"]), row["seq"])
            elif is_ours(event_id):
                earliest = received_at(event_id)
                rows = await connection.fetch(self._sql["parts_received"], *scope, earliest, earliest + _MILLISECOND - 1)
                # Of a part that is cold, too, the index says whether it may have the event at all.
                found = [to_part(row) for row in rows]
                parts = [each for each in found if next(each.blocks.received_in(earliest, earliest + _MILLISECOND - 1), None) is not None]
                place = None
            else:
                return None
            return _Sought(parts, place, await self._data_keys.get(connection, caller.company_id)) if parts else None

    async def _look(self, caller: Principal, part: Part, sought: _Sought, event_id: str) -> StoredEvent | None:
        reader = PartReader(self._objects[caller.region], part, sought.data_key)
        try:
            if sought.place is not None:
                workspace_id, seq = sought.place
                return await asyncio.to_thread(
                    lambda: next((event for page in reader.events(workspace_id, seq, seq) for event in page), None)
                )
            found = await asyncio.to_thread(reader.find, event_id)
        except Cold:  # the store knew before we did
            raise RestoreRequired([part.id]) from None
        except StoreUnavailable as error:
            raise Unavailable from error
        except (NotThere, Unopenable) as error:
            _LOG.critical("an archive can't be read", part=part.id, key=part.key, reason=str(error))
            raise Unavailable("The archive can't be read now.") from error
        return found if found is None or caller.workspace_id in (None, found.workspace_id) else None
