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
    """The event can't be stored; its reason is the argument, and ``GET /v1/events/{id}`` says it too."""


class _Waiting(NamedTuple):
    """Whose event it is, and who waits for it: more than one, when a request was sent again."""

    company_id: str
    futures: list[asyncio.Future[StoredEvent | None]]


class Waiters:
    """The waiting requests of one region."""

    def __init__(self, store: Store, limit: int, metrics: Metrics) -> None:
        self._store = store
        self._limit = limit
        self._gauge = metrics.waiters
        self._waiting: dict[str, _Waiting] = {}
        self._number = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether another one would be too many: it is answered 202 then."""
        return self._number >= self._limit

    async def stored(self, event_id: str, company_id: str) -> StoredEvent | None:
        """The company's event; ``None`` when there is no such event. Raises what Postgres does, also when that can't say now."""
        return (await self._store.outcomes({event_id: company_id})).stored.get(event_id)

    async def wait(self, event_id: str, company_id: str, seconds: float) -> StoredEvent | None:
        """What the id leads to, the company's event or the one that it repeats, once that is stored; ``None`` when the time is over.

        Raises ``Rejected``.
        """
        future: asyncio.Future[StoredEvent | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(event_id, _Waiting(company_id, [])).futures.append(future)
        self._count(1)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            self._count(-1)
            self._forget(event_id, future)

    def _count(self, change: int) -> None:
        self._number += change
        self._gauge.inc(change)

    def _forget(self, event_id: str, future: asyncio.Future[StoredEvent | None]) -> None:
        waiting = self._waiting.get(event_id)
        if waiting is not None and future in waiting.futures:
            waiting.futures.remove(future)
            if not waiting.futures:
                del self._waiting[event_id]

    async def stop(self) -> None:
        """Let everybody go: they are answered 202."""
        for event_id in list(self._waiting):
            for future in self._leaving(event_id):
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
        outcomes = await self._store.outcomes({event_id: waiting.company_id for event_id, waiting in self._waiting.items()})
        for event_id, event in outcomes.stored.items():
            for future in self._leaving(event_id):
                future.set_result(event)
        for event_id, reason in outcomes.rejected.items():
            for future in self._leaving(event_id):
                future.set_exception(Rejected(reason))

    def _leaving(self, event_id: str) -> list[asyncio.Future[StoredEvent | None]]:
        """Those who wait for that event, who are told now."""
        waiting = self._waiting.pop(event_id, None)
        return [] if waiting is None else [future for future in waiting.futures if not future.done()]
