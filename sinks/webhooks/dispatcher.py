"""A region's dispatcher: claims what is due, sends it, records how it went. Any number may run.

What the sink has just committed comes straight from memory (``take``); all else is claimed from ``webhook_due``, fairly over endpoints.
A claim is a lease by PostgreSQL's clock: whoever dies with a delivery, it falls due again. Between a claim and its result nothing is
written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

from ops import failures, log
from ops.clock import Clock
from ops.egress import Egress, Policy
from ops.faults import FaultPoints
from ops.listener import Listener
from ops.metrics import Metrics
from ops.sealing import Unsealable
from ops.settings import Settings
from ops.tracing import Tracer
from schemas.topics import Region
from schemas.webhooks import NOTICES
from sinks.consumer import STALLED_EXIT_CODE
from sinks.store import is_transient
from sinks.webhooks.attempt import Sender
from sinks.webhooks.claims import Claims
from sinks.webhooks.gauge import WebhookMetrics
from sinks.webhooks.lanes import Bounds, Lanes
from sinks.webhooks.ledger import Ledger, open_ledger_pool
from sinks.webhooks.model import Delivery, Endpoint
from sinks.webhooks.replays import Replays
from sinks.webhooks.results import Results
from sinks.webhooks.sending import Sending

_LOG = log.get(__name__)
_CONNECTIONS = 4
"""One of them listens."""
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0
_REPLAY_QUIET_SECONDS, _REPLAY_SECONDS, _REPLAY_PAUSE = 10.0, 1.0, 0.01
_BACKLOG_SECONDS, _BACKLOG_COUNTED = 15.0, 100_000
_DAYS_SECONDS = 3600.0
_ANSWER_AGE_SECONDS = 15.0
_GRACE_SECONDS, _FLUSH_SECONDS = 5.0, 2.0


class Dispatcher:
    """Everything one process does for the deliveries of one region, while it is entered. It is its sink's ``Intake``."""

    def __init__(self, settings: Settings, region: Region, *, metrics: Metrics, clock: Clock, faults: FaultPoints) -> None:
        """Raises ``ValueError`` for a lease that no request can be made within."""
        self.region = region
        self.lease = settings.webhook_lease_seconds
        self.tracer: Tracer | None = None
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._metrics = WebhookMetrics(metrics, region)
        self._lanes = Lanes(_bounds(settings))
        self._may_replay = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open connections, and begin as soon as PostgreSQL answers."""
        self._exits = AsyncExitStack()
        pool = await open_ledger_pool(self._settings.database_url(self.region), self.region, _CONNECTIONS)
        self._exits.callback(pool.terminate)
        egress = await self._exits.enter_async_context(Egress(Policy.of(self._settings)))
        self._listener = Listener(pool, NOTICES, self._on_notice)
        self._build(Ledger(self.region, pool), egress)
        self._tasks = [asyncio.create_task(self._results.run()), asyncio.create_task(self._work())]
        for task in self._tasks:
            task.add_done_callback(self._on_end)
        return self

    def _build(self, ledger: Ledger, egress: Egress) -> None:
        clock, faults, metrics = self._clock, self._faults, self._metrics
        self._sender = Sender(self._settings, egress, clock=clock, tracer=self.tracer, metrics=metrics)
        failing_seconds = self._settings.webhook_failing_seconds
        self._ledger = ledger
        self._results = Results(ledger, self.region, failing_seconds, clock=clock, faults=faults, metrics=metrics)
        self._sending = Sending(self._lanes, self._sender, self._results, clock, faults)
        self._claims = Claims(
            ledger,
            self._sending,
            self.lease,
            is_listening=lambda: self._listener.is_listening,
            clock=clock,
            faults=faults,
            metrics=metrics,
        )
        self._replays = Replays(ledger, self.region, clock)
        self._results.on_recovery = self._sending.go
        self._sending.on_low = self._claims.wake

    async def __aexit__(self, *_exc: object) -> None:
        """Give back what was not begun, let requests under way end, write their results: within 7 s, whatever is away."""
        writing, working = self._tasks
        for task in self._tasks:
            task.remove_done_callback(self._on_end)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await self._sending.close(_GRACE_SECONDS)
        with suppress(TimeoutError):  # what is not written falls due again when its lease runs out
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._results.flushed()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await self._exits.aclose()

    async def check(self) -> None:
        """Raise when PostgreSQL was not seen for a while, results can't be written, or the last secret needed could not be opened."""
        if self._sender.is_keyless:
            raise Unsealable("a webhook's secret can't be opened")
        if self._results.in_trouble or self._clock.monotonic() - self._claims.answered_at > _ANSWER_AGE_SECONDS:
            raise TimeoutError("PostgreSQL has not answered for a while")

    def now(self) -> float:
        """Monotonic."""
        return self._clock.monotonic()

    def room(self, webhook_id: str) -> int:
        """How many more deliveries of an endpoint are taken from memory."""
        return self._sending.room(webhook_id)

    def take(self, endpoints: Iterable[Endpoint], deliveries: Sequence[Delivery], *, left: Iterable[str]) -> None:
        """Deliveries that the sink has claimed and committed; ``left`` names the endpoints that more is due to."""
        self._faults.hit("webhook_before_hand_over")
        for endpoint in endpoints:
            self._sending.know(endpoint)
        self._sending.more.update(left)
        self._sending.put(deliveries)
        self._claims.stir()

    async def _work(self) -> None:
        await self._until_done(self._make_days)  # before any attempt: it could not be recorded
        self._sending.is_open = True
        steps = (self._claims.turn, self._replay, self._count, self._keep_days)
        await asyncio.gather(self._listener.run(), *map(self._for_ever, steps))

    def _on_notice(self) -> None:
        self._claims.wake()
        self._may_replay.set()

    async def _replay(self) -> None:
        self._may_replay.clear()
        began = self._clock.monotonic()
        made_due = await self._replays.turn()
        if made_due is None:
            with suppress(TimeoutError):
                is_quiet = self._listener.is_listening and not self._replays.is_waiting
                async with asyncio.timeout(_REPLAY_QUIET_SECONDS if is_quiet else _REPLAY_SECONDS):
                    await self._may_replay.wait()
            return
        if made_due:
            self._metrics.replayed(made_due)
            self._claims.wake()
        # Half of the time at most, also where nothing of page after page is wanted.
        await asyncio.sleep(max(_REPLAY_PAUSE, self._clock.monotonic() - began))

    async def _count(self) -> None:
        self._metrics.backlog(await self._ledger.backlog(_BACKLOG_COUNTED))
        await asyncio.sleep(_BACKLOG_SECONDS)

    async def _keep_days(self) -> None:
        await asyncio.sleep(_DAYS_SECONDS)
        await self._make_days()

    async def _make_days(self) -> None:
        await self._ledger.days(self._settings.webhook_attempt_days)

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._until_done(step)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Once, whatever it is that keeps it from it."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await step()
            except Exception as error:  # noqa: BLE001 - deliveries must not stay behind: try again
                self._note(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    def _note(self, error: Exception) -> None:
        self._metrics.retried(error)
        if is_transient(error):
            _LOG.warning("retrying", region=self.region, error=failures.summary(error))
        else:
            _LOG.error("retrying", region=self.region, exc_info=error)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Neither ends by itself: it is a fault of ours, and leases make a sudden end free."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        _LOG.critical("ending this process", region=self.region, error=failures.summary(error or RuntimeError("ended")))
        os._exit(STALLED_EXIT_CODE)


def _bounds(settings: Settings) -> Bounds:
    spare = settings.webhook_lease_seconds - settings.webhook_timeout_seconds
    if spare <= 0:
        raise ValueError("WEBHOOK_LEASE_SECONDS must be above WEBHOOK_TIMEOUT_SECONDS")
    return Bounds(settings.webhook_concurrency, settings.webhook_in_flight, spare / 2)
