"""What one process has in hand: deliveries in their lanes, and a task for each request that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ops.clock import Clock
from ops.faults import FaultPoints
from schemas.webhooks import State
from sinks.webhooks.attempt import Sender, interrupted
from sinks.webhooks.lanes import Lanes
from sinks.webhooks.model import Delivery, Endpoint, Result
from sinks.webhooks.results import Results, tells_of_endpoint

_MAX_ENDPOINTS = 20_000
_OUT_OF_RESOURCES_SECONDS = 1.0


class Sending:
    """Begins what may begin, as soon as it may. Each delivery that is put in leaves as a result, or is given back."""

    def __init__(self, lanes: Lanes, sender: Sender, results: Results, clock: Clock, faults: FaultPoints) -> None:
        self.lanes = lanes
        self.is_open = False
        self.on_low: Callable[[], None] = lambda: None
        """Called when the lane of an endpoint that more is due to has room again."""
        self.more: set[str] = set()
        """Endpoints that more is due to than is in hand."""
        self._sender = sender
        self._results = results
        self._clock = clock
        self._faults = faults
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing in hand, and all that was is written."""
        return not (self.lanes.waiting or self.lanes.under_way) and self._results.is_empty

    def know(self, endpoint: Endpoint) -> None:
        """The endpoint as it was just read; what goes to it from now on goes by that."""
        known = self._endpoints.get(endpoint.id)
        self._results.know(endpoint.id, failing=endpoint.failing)  # each time: another dispatcher may have changed it, and changed it back
        if known is None or known.failing is not endpoint.failing:
            self.lanes.know(endpoint.id, failing=endpoint.failing)
        self._endpoints[endpoint.id] = endpoint

    def room(self, webhook_id: str) -> int:
        """How many more deliveries it takes of an endpoint."""
        return self.lanes.room(webhook_id) if self.is_open and not self._results.in_trouble else 0

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that are claimed, of endpoints that are known."""
        if not self.is_open:
            self._results.give_back([*deliveries])
            return
        for delivery in deliveries:
            self.lanes.put(delivery)
        self.go()

    def go(self) -> None:
        """Begin all that may begin. Nothing does while results can't be written: what was sent must not be sent again for that."""
        while (delivery := self._next()) is not None:
            task = asyncio.create_task(self._send(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def drop(self, webhook_ids: Iterable[str]) -> None:
        """Give back what waits for these endpoints."""
        self._results.give_back(self.lanes.take_out(webhook_ids))

    def shed(self) -> None:
        """Give back what waited for too long, and forget whom nothing is sent to."""
        self._results.give_back(self.lanes.late(self._clock.monotonic()))
        if len(self._endpoints) > _MAX_ENDPOINTS:
            self.lanes.forget_idle()
            self._endpoints = {each.id: each for each in self._endpoints.values() if self.lanes.has(each.id)}

    async def close(self, grace: float) -> None:
        """Give back what was not begun; requests under way have ``grace`` seconds to end, and count as interrupted then."""
        self.is_open = False
        self._results.give_back(self.lanes.take_out())
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _next(self) -> Delivery | None:
        if not self.is_open or self._results.in_trouble:
            return None
        now = self._clock.monotonic()
        while (delivery := self.lanes.next()) is not None and self.lanes.is_late(delivery, now):
            self._return(delivery)
        return delivery

    def _return(self, delivery: Delivery) -> None:
        """It was not sent after all."""
        self.lanes.ended(delivery, seconds=None, succeeded=None)
        self._results.give_back([delivery])

    async def _send(self, delivery: Delivery | None) -> None:
        """One after the other, so that a task lives for many."""
        while delivery is not None:
            began = self._clock.monotonic()
            try:
                result = await self._sender.attempt(self._endpoints[delivery.webhook_id], delivery)
            except asyncio.CancelledError:
                self._end(interrupted(delivery, began, self._clock.monotonic()))
                raise
            if result is None:
                await asyncio.sleep(_OUT_OF_RESOURCES_SECONDS)  # its place stays taken, so that less is tried meanwhile
                self._return(delivery)
            else:
                self._faults.hit("webhook_sent")
                self._end(result)
            delivery = self._next()
            self.go()

    def _end(self, result: Result) -> None:
        delivery = result.delivery
        succeeded = result.state is State.SUCCEEDED if tells_of_endpoint(result) else None
        self.lanes.ended(delivery, seconds=result.ended - result.began if result.sent else None, succeeded=succeeded)
        self._results.put(result)
        if delivery.webhook_id in self.more and self.lanes.is_low(delivery.webhook_id):
            self.more.discard(delivery.webhook_id)
            self.on_low()
