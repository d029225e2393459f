"""Reading the words of events beside the loop: those of one large event take as long as thousands of small ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from api.tail.frames import Told

_AT_A_TIME = 8
"""Events: then whoever waited longest has its turn."""


class Words:
    """One thread's worth of it at a time, so that the loop keeps its half of the processor."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def read(self, events: Iterable[Told]) -> None:
        """Have the tokens of all of them at hand."""
        unread = [told for told in events if not told.is_read]
        for at in range(0, len(unread), _AT_A_TIME):
            async with self._turn:
                await asyncio.to_thread(_read, unread[at : at + _AT_A_TIME])


def _read(events: Sequence[Told]) -> None:
    for told in events:
        told.has(frozenset())
