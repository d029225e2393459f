"""When keys were last used: written every few seconds for all at once, never for a request. A crash loses the last of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ops import log
from ops.auth import Authenticator
from ops.clock import Clock
from ops.db import is_unavailable
from schemas.topics import Region

_INTERVAL_SECONDS = 5.0
_FAREWELL_SECONDS = 3.0
_KEYS_PER_STATEMENT = 1000
_LOG = log.get(__name__)


class Uses(Protocol):
    """Where it is written: Postgres, or a fake."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions whose keys are known here."""
        ...

    async def note_use(self, region: Region, used: Mapping[str, int]) -> None:
        """Write when keys were last used: microseconds by key id."""
        ...


class KeyUses:
    """Writes what an authenticator saw. What a region's database could not take is written when it is back."""

    def __init__(self, authenticator: Authenticator, uses: Uses, clock: Clock) -> None:
        self._authenticator = authenticator
        self._uses = uses
        self._clock = clock
        self._written = dict.fromkeys(uses.regions, 0.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write, now and then."""
        self._task = asyncio.get_running_loop().create_task(self._keep_writing())

    async def stop(self) -> None:
        """Write once more, for a few seconds at most, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.write()
        except TimeoutError:
            _LOG.warning("not written when keys were last used")

    async def write(self) -> None:
        """Write what is new, in every region whose database can be reached."""
        await asyncio.gather(*(self._write(region) for region in self._written))

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            await self.write()

    async def _write(self, region: Region) -> None:
        now = self._clock.monotonic()
        used = self._authenticator.used_since(region, self._written[region])
        try:
            for part in _parts(used):
                await self._uses.note_use(region, part)
        except Exception as error:  # noqa: BLE001 - requests must not depend on it, and the next time may work
            _LOG.warning("not written when keys were last used", region=region, error=type(error).__name__, away=is_unavailable(error))
            return
        self._written[region] = now


def _parts(used: Mapping[str, int]) -> list[dict[str, int]]:
    pairs = list(used.items())
    return [dict(pairs[start : start + _KEYS_PER_STATEMENT]) for start in range(0, len(pairs), _KEYS_PER_STATEMENT)]
