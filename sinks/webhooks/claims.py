"""Looking for what is due: page by page over the endpoints, asleep until the next one is.

For a second at most, and for ten while nothing is in hand: what is made due without this process is notified, or falls due at a moment that
is in the table, and if the notice was lost it is late by no more than that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

from ops.clock import Clock
from ops.faults import FaultPoints
from sinks.webhooks.gauge import WebhookMetrics
from sinks.webhooks.ledger import Ledger, Standing
from sinks.webhooks.sending import Sending

_CLAIMED_AT_A_TIME = 200
"""An event may be as large as 128 KiB."""
_ENDED_AT_A_TIME = 1000
_QUIET_PAUSE, _LONGEST_PAUSE, _SHORTEST_PAUSE = 10.0, 1.0, 0.02
_PAUSES = 3.0
"""A look that finds nothing is followed by a pause of at least so many times its length, so that many endpoints cost no more than few."""
_FIRST = UUID(int=0)


class Claims:
    """Claims deliveries for one process, as many of each endpoint as its lane takes."""

    def __init__(
        self,
        ledger: Ledger,
        sending: Sending,
        lease: float,
        *,
        is_listening: Callable[[], bool],
        clock: Clock,
        faults: FaultPoints,
        metrics: WebhookMetrics,
    ) -> None:
        """``is_listening`` tells whether notices lead to ``wake``."""
        self._ledger = ledger
        self._sending = sending
        self._lease = lease
        self._clock = clock
        self._faults = faults
        self._metrics = metrics
        self._is_listening = is_listening
        self.answered_at = clock.monotonic()
        """When PostgreSQL last answered."""
        self._notified_at = float("-inf")
        self._wake = asyncio.Event()
        self._is_stirred = asyncio.Event()

    def wake(self) -> None:
        """There may be something to claim: look now."""
        self._wake.set()
        self._is_stirred.set()

    def stir(self) -> None:
        """There is something in hand: look within a second."""
        self._is_stirred.set()

    async def turn(self) -> None:
        """Look at all endpoints that have something to be sent, then sleep. Raises what Postgres raises."""
        self._wake.clear()
        self._is_stirred.clear()
        was_quiet = self._sending.is_quiet
        began = self._clock.monotonic()
        # What another one claims from now on, and dies with, falls due after a lease: the next look comes before.
        pause, late, is_more = min(_QUIET_PAUSE, self._lease) if self._is_listening() else _LONGEST_PAUSE, 0.0, False
        after: UUID | None = _FIRST
        while after is not None:
            page, after = await self._ledger.lanes(after)
            is_more = await self._look(page) or is_more
            pause = min([pause, *(each.due_in for each in page if each.due_in > 0)])
            late = max([late, *(-each.due_in for each in page)])
        self.answered_at = self._clock.monotonic()
        self._sending.shed()
        self._metrics.standing(self._sending.lanes, late=late)
        if self._sending.more and began - self._notified_at >= _LONGEST_PAUSE:
            self._notified_at = began
            await self._ledger.notify()  # there is more than this process takes: others may have rested
        if not is_more:
            least = max(_SHORTEST_PAUSE, _PAUSES * (self._clock.monotonic() - began))
            await asyncio.sleep(least)  # also, lanes that fill and empty fast don't ask for each delivery anew
            await _wait(self._wake, min(pause, _LONGEST_PAUSE) - least)
            if was_quiet and not late and not self._is_stirred.is_set():
                await self._rest(pause - _LONGEST_PAUSE)

    async def _rest(self, seconds: float) -> None:
        """After a look that found nothing due while nothing was in hand."""
        await _wait(self._is_stirred, seconds)
        if self._is_stirred.is_set():
            await _wait(self._wake, _LONGEST_PAUSE)

    async def _look(self, page: Sequence[Standing]) -> bool:
        """Take in hand what is due to a page of endpoints; whether there may be more that there is room for."""
        for standing in page:
            self._sending.know(standing.endpoint)
        ended = await self._end_unwanted([each.endpoint.id for each in page if not each.endpoint.enabled])
        due = [each.endpoint.id for each in page if each.due_in <= 0]
        rooms = {each: self._sending.room(each) for each in due}
        self._sending.more.update(each for each, room in rooms.items() if not room)
        return await self._claim({each: room for each, room in rooms.items() if room}) or ended >= _ENDED_AT_A_TIME

    async def _end_unwanted(self, webhook_ids: list[str]) -> int:
        """What is in hand for endpoints that were disabled goes back first, and is given up with the rest in the next turn."""
        if not webhook_ids:
            return 0
        self._sending.drop(webhook_ids)
        return await self._ledger.end_unwanted(webhook_ids, _ENDED_AT_A_TIME)

    async def _claim(self, rooms: dict[str, int]) -> bool:
        if not rooms:
            return False
        share = max(1, _CLAIMED_AT_A_TIME // len(rooms))
        asked = {webhook_id: min(room, share) for webhook_id, room in rooms.items()}
        claimed = await self._ledger.claim(asked, lease=self._lease, now=self._clock.monotonic())
        self._faults.hit("webhook_claimed")
        self._metrics.lapsed(claimed.lapsed)
        self._sending.put(claimed.deliveries)
        got = Counter(each.webhook_id for each in claimed.deliveries)
        return any(got[webhook_id] >= count for webhook_id, count in asked.items())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
