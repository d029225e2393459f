"""How often to look when most looks find nothing: often while something moves, ever more seldom while all is quiet."""

from __future__ import annotations

import asyncio


class Pace:
    """An interval that doubles with each quiet look, up to ``longest``, and is back at ``shortest`` after one that was not. In any unit."""

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self.interval = shortest

    def note(self, *, quiet: bool) -> None:
        """What the last look found."""
        self.interval = min(2 * self.interval, self._longest) if quiet else self._shortest


class Alarm:
    """A sleep whose end others may bring forward, but not put off."""

    def __init__(self) -> None:
        self._due = float("inf")
        self._changed = asyncio.Event()

    def within(self, seconds: float) -> None:
        """End the sleep so many seconds from now at the latest: the one under way, or else the next one."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due:
            self._due = due
            self._changed.set()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or earlier when somebody asked for it."""
        now = asyncio.get_running_loop().time
        self._due = min(self._due, now() + seconds)
        while now() < self._due:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(self._due):
                    await self._changed.wait()
            except TimeoutError:
                break
        self._due = float("inf")
