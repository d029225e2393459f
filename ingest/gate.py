"""When not to accept: a 202 for what can't be stored in time would be a promise we may not keep (contract §2).

A partition is closed while it is parked, and while its oldest event not yet persisted is older than half of
what the topic keeps. With Postgres away nothing is known of either, and the last word stands: Kafka keeps
the events, and the second rule is checked again from the log alone as long as the stored offset is known.

While nothing is accepted the gate looks every eight seconds at last, and after an event that comes then within a quarter of
one: so a partition that was parked is closed two seconds later, or before, or a moment after the first event that finds it idle.
"""

from __future__ import annotations

import asyncio

from ingest.store import Standing, Store
from ops import kafka, log
from ops.clock import Clock
from ops.db import is_unavailable
from ops.kafka import KafkaError, LogView
from ops.pace import Alarm, Pace
from ops.settings import Settings
from schemas.topics import Region, ingest_topic

_LOG = log.get(__name__)
_TICK_SECONDS, _QUIET_TICK_SECONDS = 2.0, 8.0
_FIRST_LOOK_SECONDS = 0.25
"""After an event that ends a quiet spell: beside its own way through the process, a look would make it slower."""
_ANSWER_SECONDS = 10.0
_PARKED = "This workspace's events can't be stored until an operator has decided: nothing was accepted"
_MISMATCH = "The service is not set up as its topics are: nothing was accepted"
_BEHIND = "This workspace's events wait too long to be stored: nothing was accepted"


class Gate:
    """One region's partitions, open or closed; looked at every two seconds while events come."""

    def __init__(self, settings: Settings, region: Region, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._region = region
        self._topic = ingest_topic(region)
        self._store = store
        self._clock = clock
        self._closed: dict[int, str] = {}
        self._standing: dict[int, Standing] | None = None
        self._view: LogView | None = None
        self._pace = Pace(_TICK_SECONDS, _QUIET_TICK_SECONDS)
        self._alarm = Alarm()
        self._looked_at = 0.0
        self._is_asked = False
        self._task: asyncio.Task[None] | None = None

    def closed(self, partition: int) -> str | None:
        """Why the partition takes nothing now, or ``None``. To be asked for each request: by that the gate knows that events come."""
        if not self._is_asked:
            self._is_asked = True
            self._alarm.within(max(_FIRST_LOOK_SECONDS, self._looked_at + _TICK_SECONDS - self._clock.monotonic()))
        return self._closed.get(partition)

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop_view()

    async def _keep_looking(self) -> None:
        while True:
            self._is_asked, is_known = False, False
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    is_known = await self._look()
            except Exception as error:  # noqa: BLE001 - the gate has to go on looking
                if not (is_unavailable(error) or isinstance(error, (KafkaError, kafka.TopicMismatch))):
                    _LOG.exception("gate", region=self._region)
                if isinstance(error, KafkaError):
                    await self._drop_view()
            self._looked_at = self._clock.monotonic()
            self._pace.note(quiet=is_known and not self._closed and not self._is_asked)
            await self._alarm.sleep(self._pace.interval)

    async def _look(self) -> bool:
        """Whether both Postgres and Kafka have answered. Raises what Kafka does."""
        is_known = True
        try:
            self._standing = await self._store.standing()
        except Exception as error:
            if not is_unavailable(error):
                raise
            is_known = False
        if self._standing is None:  # never heard from Postgres: then no key is known either
            return False
        closed = {number: _PARKED for number, one in self._standing.items() if one.parked_reason is not None}
        self._closed |= closed  # at once, whether or not Kafka answers below
        self._closed = closed | dict.fromkeys(await self._behind(self._standing), _BEHIND)
        return is_known

    async def _behind(self, standing: dict[int, Standing]) -> list[int]:
        """Partitions with a record that is older than half the retention and not yet persisted."""
        if self._view is None:
            view = LogView(self._settings, self._region)
            try:
                await view.start()
            except BaseException:
                await view.stop()
                raise
            self._view = view
        partitions = range(self._settings.topic_partitions)
        try:
            kafka.compare(await self._view.topics(), self._settings, self._region)
        except kafka.TopicMismatch as error:
            _LOG.critical("nothing is accepted", region=self._region, reason=str(error))
            self._closed = dict.fromkeys(partitions, _MISMATCH)
            raise
        half = self._settings.topic_retention_hours * 3_600_000 // 2
        # In this order: a first young record that comes between the two questions must not pass for an old one.
        bounds = await self._view.bounds(self._topic, partitions)
        young = await self._view.first_since(self._topic, partitions, self._clock.micros() // 1000 - half)
        return [number for number in partitions if _next_offset(standing.get(number)) < _old_end(young.get(number), bounds[number])]

    async def _drop_view(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            await view.stop()


def _next_offset(standing: Standing | None) -> int:
    return 0 if standing is None else standing.next_offset


def _old_end(first_young: int | None, bounds: kafka.Bounds) -> int:
    """The end of the old records: where the young ones begin, or the log's end when there are none."""
    return bounds.end if first_young is None else first_young
