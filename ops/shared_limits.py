"""Limits of several replicas: their counts are added up in a Valkey or Redis, behind the requests.

A few times a second each process adds what it counted since to the store's counters and reads how much that makes with
the others'. So no request waits for the store, and none fails with it: while it is away each process counts alone. The
price is that a limit can be passed by what the replicas let in within a round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import nlargest

from limits.aio.storage import RedisStorage
from valkey.asyncio import BlockingConnectionPool

from ops import log
from ops.clock import Clock
from ops.limits import MINUTE_MICROS, Counter, Table
from ops.metrics import Metrics

_INTERVAL_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_ANSWER_SECONDS = 1.0
_CONNECTIONS = 8
# A count takes 45 µs of this process. Those with the most news go first, the others in a later round.
_COUNTS_PER_ROUND = 1000
_KEPT_SECONDS = 120
_LOG = log.get(__name__)


class SharedLimits:
    """Keeps a process's counters in step with those of its replicas."""

    def __init__(self, url: str, tables: Sequence[Table], *, clock: Clock, metrics: Metrics) -> None:
        """``url`` is redis://…, rediss://…, valkey://… or valkeys://…. Raises ``ValueError`` for another."""
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
        )
        self._storage = RedisStorage(
            "async+valkey://",
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, but not in its annotation
            key_prefix="hyrelog",
        )
        self._tables = tables
        self._clock = clock
        self._errors = metrics.rate_limit_store_errors
        self._task: asyncio.Task[None] | None = None
        self.away = False
        """Whether the store could not be reached the last time."""

    def start(self) -> None:
        """Begin to add up."""
        self._task = asyncio.get_running_loop().create_task(self._keep_adding())

    async def stop(self) -> None:
        """Stop, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._pool.aclose()

    async def add_up(self) -> None:
        """One round. Raises what the store's client raises."""
        minute = self._clock.micros() // MINUTE_MICROS
        for table in self._tables:
            untold = nlargest(_COUNTS_PER_ROUND, table.untold(minute), key=_news)
            for start in range(0, len(untold), _CONNECTIONS):
                await asyncio.gather(*(self._add(table.name, *each) for each in untold[start : start + _CONNECTIONS]))

    async def _add(self, table: str, holder: str, counter: Counter) -> None:
        minute, amount = counter.minute, counter.used - counter.told
        # Before the answer, and for good: a count whose answer was lost may be in the store, and must not be there twice.
        counter.told += amount
        total = await self._storage.incr(f"{table}:{holder}:{minute}", _KEPT_SECONDS, amount)
        if counter.minute == minute:
            counter.elsewhere = max(0, total - counter.told)

    async def _keep_adding(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS if self.away else _INTERVAL_SECONDS)
            try:
                await self.add_up()
            except Exception as error:  # noqa: BLE001 - whatever the store answers, requests are counted here, and the next round may work
                self._errors.inc()
                self._note(away=True, reason=type(error).__name__)
            else:
                self._note(away=False)

    def _note(self, *, away: bool, reason: str = "") -> None:
        if away != self.away:
            _LOG.warning("rate limits: each process counts alone" if away else "rate limits: replicas count together", reason=reason)
        self.away = away


def _news(entry: tuple[str, Counter]) -> int:
    return entry[1].used - entry[1].told
