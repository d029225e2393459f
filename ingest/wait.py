"""``Prefer: wait``: requests that stay until their event is stored share one look at Postgres every few dozen milliseconds."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ingest.store import Store
from ops import log
from ops.db import is_unavailable
from ops.metrics import Metrics
from schemas.event import StoredEvent

_LOG = log.get(__name__)
_LOOK_SECONDS = 0.03
MAX_WAIT_SECONDS = 30


class Rejected(Exception):
    """The event can't be stored; ``GET /v1/events/{id}`` says why."""


class _Waiting(NamedTuple):
    """Whose event it is, and who waits for it."""

    company_id: str
    future: asyncio.Future[StoredEvent | None]


class Waiters:
    """The waiting requests of one region."""

    def __init__(self, store: Store, limit: int, metrics: Metrics) -> None:
        self._store = store
        self._limit = limit
        self._gauge = metrics.waiters
        self._waiting: dict[str, _Waiting] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether another one would be too many: it is answered 202 then."""
        return len(self._waiting) >= self._limit

    async def wait(self, event_id: str, company_id: str, seconds: float) -> StoredEvent | None:
        """The company's event once it is stored, or ``None`` when the time is over. Raises ``Rejected``."""
        future: asyncio.Future[StoredEvent | None] = asyncio.get_running_loop().create_future()
        self._waiting[event_id] = _Waiting(company_id, future)
        self._gauge.inc()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            self._gauge.dec()
            self._waiting.pop(event_id, None)

    async def stop(self) -> None:
        """Let everybody go: they are answered 202."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_result(None)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_LOOK_SECONDS)
                try:
                    await self._settle()
                except Exception as error:  # noqa: BLE001 - those who wait have a time limit; the next look may work
                    if not is_unavailable(error):
                        _LOG.exception("waiting")
        finally:
            self._looking = None

    async def _settle(self) -> None:
        stored, rejected = await self._store.outcomes({event_id: waiting.company_id for event_id, waiting in self._waiting.items()})
        for event in stored:
            if (waiting := self._waiting.pop(event.id, None)) and not waiting.future.done():
                waiting.future.set_result(event)
        for event_id in rejected:
            if (waiting := self._waiting.pop(event_id, None)) and not waiting.future.done():
                waiting.future.set_exception(Rejected(event_id))
