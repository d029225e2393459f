"""Writing down how attempts ended: many at a time, in one transaction. While PostgreSQL is away they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ops import audit, failures, log
from ops.clock import Clock
from ops.db import Connection
from ops.faults import FaultPoints
from schemas.audit import Entry, Outcome
from schemas.topics import Region
from schemas.webhooks import Failure, Kind, State
from sinks.webhooks.attempt import GONE
from sinks.webhooks.gauge import WebhookMetrics
from sinks.webhooks.ledger import Ledger
from sinks.webhooks.model import Delivery, Disabled, Result

_LOG = log.get(__name__)
_BATCH = 500
_GATHER_SECONDS = 0.02
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0
_NOT_ITS_FAULT = (Failure.INTERRUPTED, Failure.ENDPOINT_DISABLED, Failure.EVENT_GONE)


class Results:
    """What is to be written. Bounded by what is under way: while writing fails, its owner begins nothing (``in_trouble``)."""

    def __init__(
        self,
        ledger: Ledger,
        region: Region,
        failing_seconds: float,
        *,
        clock: Clock,
        faults: FaultPoints,
        metrics: WebhookMetrics,
    ) -> None:
        self.in_trouble = False
        self.on_recovery: Callable[[], None] = lambda: None
        """Called when results can be written again."""
        self._ledger = ledger
        self._region = region
        self._failing_seconds = failing_seconds
        self._clock = clock
        self._faults = faults
        self._metrics = metrics
        self._ended: list[Result] = []
        self._returned: list[Delivery] = []
        self._failing: set[str] = set()
        """Endpoints whose last written attempt failed."""
        self._some = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether all is written."""
        return not (self._ended or self._returned)

    def put(self, result: Result) -> None:
        """An attempt ended."""
        self._ended.append(result)
        self._some.set()

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries that are not begun here."""
        if deliveries:
            self._returned += deliveries
            self._some.set()

    def know(self, webhook_id: str, *, failing: bool) -> None:
        """What the endpoint's row says."""
        (self._failing.add if failing else self._failing.discard)(webhook_id)

    async def flushed(self) -> None:
        """Return when all is written."""
        while not self.is_empty:
            await asyncio.sleep(_GATHER_SECONDS)

    async def run(self) -> None:
        """Write until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._some.wait()
            if len(self._ended) < _BATCH:
                await asyncio.sleep(_GATHER_SECONDS)
            try:
                await self.write()
            except Exception as error:  # noqa: BLE001 - whatever it is, results must not be lost: try again
                self.in_trouble = True
                self._metrics.retried(error)
                _LOG.warning("attempts can't be recorded", region=self._region, error=failures.summary(error), kept=len(self._ended))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                self._recover()

    def _recover(self) -> None:
        if self.in_trouble and self.is_empty:
            self.in_trouble = False
            self.on_recovery()

    async def write(self) -> None:
        """One transaction. Raises what Postgres raises; nothing is forgotten then."""
        ended, returned = self._ended[:_BATCH], self._returned[:_BATCH]
        self._faults.hit("webhook_before_results")
        async with self._ledger.transaction() as connection:
            written = await self._ledger.settle(connection, ended, self._clock.monotonic()) if ended else 0
            if returned:
                await self._ledger.give_back(connection, returned)
            failing, well = self._changes(ended)
            await self._ledger.note_health(connection, failing=failing - self._failing, well=well & self._failing)
            disabled = await self._disable(connection, ended, failing)
            self._faults.hit("webhook_before_results_commit")
        self._failing = (self._failing | failing) - well
        del self._ended[: len(ended)], self._returned[: len(returned)]
        if self.is_empty:
            self._some.clear()
        self._metrics.wrote(ended, lost=len(ended) - written, disabled=disabled)

    @staticmethod
    def _changes(ended: Sequence[Result]) -> tuple[set[str], set[str]]:
        """The endpoints whose last attempt failed, and those whose last one succeeded."""
        last = {each.delivery.webhook_id: each.state for each in ended if tells_of_endpoint(each)}
        well = {webhook_id for webhook_id, state in last.items() if state is State.SUCCEEDED}
        return last.keys() - well, well

    async def _disable(self, connection: Connection, ended: Sequence[Result], failing: set[str]) -> list[Disabled]:
        """Disable who wants no more, and who has failed for too long; the customer's own log says so, or neither happens."""
        told = [each for each in ended if tells_of_endpoint(each)]
        gone = [each.endpoint for each in told if each.endpoint and each.status == GONE]
        last = {each.delivery.webhook_id: each.endpoint for each in told}
        late = [endpoint for webhook_id in failing & self._failing if (endpoint := last[webhook_id])]
        found = [(Disabled.GONE, each) for each in await self._ledger.disable(connection, gone, Disabled.GONE)] if gone else []
        if late:
            stopped = await self._ledger.disable(connection, late, Disabled.FAILING, self._failing_seconds)
            found += [(Disabled.FAILING, each) for each in stopped]
        for reason, each in found:
            _LOG.warning("endpoint disabled", webhook=each.id, company=each.company_id, reason=reason)
            entry = _disabled(each.id, reason, _trace_of(each.id, ended))
            await audit.write(connection, entry, region=self._region, company_id=each.company_id, now=self._clock.micros())
        return [reason for reason, _ in found]


def tells_of_endpoint(result: Result) -> bool:
    """Whether the attempt's end says how the endpoint is."""
    return result.delivery.kind is not Kind.TEST and result.error not in _NOT_ITS_FAULT


def _trace_of(webhook_id: str, ended: Sequence[Result]) -> str:
    events = (each.delivery.event for each in reversed(ended) if each.delivery.webhook_id == webhook_id)
    return next((event.trace_id for event in events if event is not None), webhook_id.replace("-", ""))


def _disabled(webhook_id: str, reason: Disabled, trace_id: str) -> Entry:
    target = {"id": webhook_id, "type": "webhook"}
    return Entry("webhook.disable", Outcome.SUCCESS, {"type": "system"}, trace_id, target, {"reason": reason.value})
