"""Sweeping claims of idempotency keys that are older than a key has to live without an event (contract §2, "Ingest")."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

from ops import log
from ops.clock import Clock
from ops.metrics import Metrics
from schemas.topics import Region

_LOG = log.get(__name__)
_LIFE_MICROS = 24 * 3600 * 1_000_000
_AT_ONCE = 1000
_LEAST_SECONDS = 30
_PAUSE_SECONDS = 0.1


class Table(Protocol):
    """Where claims are kept: one region's Postgres, or a fake."""

    async def sweep(self, before: int, limit: int) -> int:
        """Delete claims received before that time (microseconds), no more than ``limit``. Returns how many."""
        ...


class Sweeper:
    """Sweeps one region's claims now and then; several processes may, and take turns."""

    def __init__(self, region: Region, table: Table, clock: Clock, metrics: Metrics) -> None:
        self._region = region
        self._table = table
        self._clock = clock
        self._failed = metrics.failed_sweeps.labels(region.value).inc
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.create_task(self._keep_sweeping())

    async def stop(self) -> None:
        """Stop sweeping."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sweep(self) -> None:
        """Delete what is too old by now, in small statements, so that nobody's claim waits for it.

        One that fails is noted, a time-out too: were none to succeed, the table would grow until the disk is full.
        """
        before = self._clock.micros() - _LIFE_MICROS
        try:
            while await self._table.sweep(before, _AT_ONCE) == _AT_ONCE:
                await asyncio.sleep(_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - what stays is swept the next time
            self._failed()
            _LOG.warning("sweep", region=self._region, error=type(error).__name__)

    async def _keep_sweeping(self) -> None:
        while True:
            # Apart from each other, though all may have been started at once.
            await asyncio.sleep(_LEAST_SECONDS + random.getrandbits(6))
            await self.sweep()
