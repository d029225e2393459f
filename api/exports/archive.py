"""Where an export's events are read that have left the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final, TypeVar

from ops import log
from ops.archive.data_keys import DataKeys
from ops.archive.parts import Part
from ops.archive.reader import PartReader
from ops.auth import Principal
from ops.db import Connection
from ops.objects import Cold, NotThere, ObjectStore, StoreUnavailable
from schemas.event import StoredEvent
from schemas.problems import Unavailable
from schemas.seal import Unopenable
from schemas.topics import Region

PATIENCE: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries while a store can't answer. The client waits meanwhile."""
_LOG = log.get(__name__)
Result = TypeVar("Result")

Test = Callable[[StoredEvent], bool]


class ArchiveUnreadable(Exception):
    """The archive does not have what it should have."""


class ArchiveCold(Exception):
    """The archive went cold meanwhile: its restoration is over, or the store moved it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a workspace's events, both ends inclusive."""

    workspace_id: str
    from_seq: int
    to_seq: int


@dataclass(frozen=True, slots=True)
class Archives:
    """The regions' archives."""

    objects: Mapping[Region, ObjectStore]
    data_keys: DataKeys
    threads: Executor
    """Reads wait for the store in these: many slow ones must not take all of the loop's own, which others need."""

    async def data_key(self, connection: Connection, caller: Principal) -> bytes:
        """The caller's company's."""
        return await self.data_keys.get(connection, caller.company_id)

    async def events(
        self, caller: Principal, part: Part, data_key: bytes, run: Run, test: Test | None
    ) -> AsyncGenerator[list[StoredEvent]]:
        """Those events of the run that pass the test, a block at a time. All of the run have to be in the part.

        Raises ``ArchiveCold``, ``ArchiveUnreadable``, and ``Unavailable`` when the store can't answer for long.
        """
        reader = PartReader(self.objects[caller.region], part, data_key)
        seq, tries = run.from_seq, iter(PATIENCE)
        while seq <= run.to_seq:
            blocks = reader.events(run.workspace_id, seq, run.to_seq)
            try:
                while (block := await self._threaded(partial(_next, blocks, seq, test))) is not None:
                    seq, events = block
                    tries = iter(PATIENCE)
                    if events:
                        yield events
                if seq <= run.to_seq:
                    raise Unopenable(f"{part.key} ends before seq {seq} of {run.workspace_id}")
            except StoreUnavailable as error:
                seconds = next(tries, None)
                if seconds is None:
                    raise Unavailable from error
                await asyncio.sleep(seconds)
            except Cold as error:
                raise ArchiveCold from error
            except (NotThere, Unopenable) as error:
                _LOG.critical("an archive can't be read", part=part.id, key=part.key, reason=str(error))
                raise ArchiveUnreadable from error

    async def _threaded(self, call: Callable[[], Result]) -> Result:
        """As ``asyncio.to_thread``: what is logged there has the request's context too."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(copy_context().run, call))


def _next(blocks: Iterator[list[StoredEvent]], seq: int, test: Test | None) -> tuple[int, list[StoredEvent]] | None:
    """The next block's events that pass, and the seq behind all of it. Raises ``Unopenable`` where it does not go on with ``seq``."""
    block = next(blocks, None)
    if block is None:
        return None
    if any(event.seq != expected for event, expected in zip(block, count(seq), strict=False)):
        raise Unopenable(f"the archive has a hole behind seq {seq}")
    return seq + len(block), block if test is None else [event for event in block if test(event)]
