"""One region's outbox: sent in order, deleted once acknowledged, for ever.

Publishing happens inside the transaction that holds the region's lock and deletes the rows, so a second relay stands
by, and takes over when the first one dies, or when PostgreSQL ends a frozen one's transaction. Whatever was sent and
not deleted is sent again, the same bytes in the same order; the chain worker drops the repeats by their ids.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from ops import kafka, log
from ops.clock import Clock
from ops.db import Pool, Row, Timeouts, is_unavailable, load_queries, open_pool
from ops.faults import FaultPoints
from ops.kafka import KafkaError, TopicMismatch, partition_of
from ops.listener import Listener
from ops.metrics import Metrics
from ops.pace import Alarm
from ops.publish import AckTimeout, Publisher, Pushback, Record
from ops.settings import Settings
from schemas.accepted import open_envelope
from schemas.codec import Undecodable
from schemas.topics import Region, ingest_topic

_LOG = log.get(__name__)
_POLL_SECONDS, _QUIET_POLL_SECONDS = 0.5, 5.0
"""The longer one while the outbox is empty and the database notifies of what comes: it may lose a notification with its connection."""
_CHANNEL = "audit_outbox"
_CONNECTIONS = 2
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0
_BATCH_ENTRIES = 200
_BATCHES_A_LOOK = 50
"""Counting what waits reads all of it: dearer than sending once there is much."""
_BATCH_BYTES = 4 << 20
_UNACKED_BYTES = 4 * _BATCH_BYTES
"""More than any batch, so that what a lost connection left unacknowledged can't keep the next one out for long."""
_STATEMENT_SECONDS = 5.0
_ANSWER_AGE_SECONDS = 15.0
_MISFIT = b"misfit:"
"""Before an envelope it makes the chain worker reject the record, which would else join the chain that the envelope names."""
_AWAY = (KafkaError, Pushback, AckTimeout)


class RegionRelay:
    """Works one region's outbox while it is entered. One connection that works and one that listens, and one batch in memory."""

    def __init__(self, settings: Settings, region: Region, *, metrics: Metrics, clock: Clock, faults: FaultPoints) -> None:
        self.region = region
        self._settings = settings
        self._clock = clock
        self._faults = faults
        self._sql = load_queries("ops.relay")
        self._topic = ingest_topic(region)
        self._is_checked = False
        self._alarm = Alarm()
        self._answered_at = clock.monotonic()
        self._publisher = Publisher(
            lambda: kafka.producer(settings, region),
            max_unacked_bytes=_UNACKED_BYTES,
            ack_timeout=settings.ingest_ack_timeout_seconds,
        )
        self._entries = metrics.outbox_entries.labels(region.value)
        self._age = metrics.outbox_age.labels(region.value)
        self._relayed = metrics.relayed.labels(region.value)
        self._retries = metrics.relay_retries

    async def __aenter__(self) -> None:
        self._pool = await self._open_pool()
        await self._publisher.start()
        self._listener = Listener(self._pool, _CHANNEL, lambda: self._alarm.within(0))
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._listener.run())]

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._publisher.stop(grace=0)
        self._pool.terminate()

    async def check(self) -> None:
        """Raise when Kafka is not connected or the outbox was not seen for a while."""
        if not self._publisher.connected:
            raise ConnectionError("no producer is connected")
        if self._clock.monotonic() - self._answered_at > _ANSWER_AGE_SECONDS:
            raise TimeoutError("the outbox was not seen for a while")

    async def _open_pool(self) -> Pool:
        # A relay that freezes in the middle of a batch loses the region's lock, and its own repeats change nothing.
        idle = self._settings.ingest_ack_timeout_seconds + _STATEMENT_SECONDS
        timeouts = Timeouts(statement=_STATEMENT_SECONDS, lock=_STATEMENT_SECONDS, idle_in_transaction=idle)
        url = self._settings.database_url(self.region)
        return await open_pool(url, application_name="hyrelog-relay", region=self.region, max_size=_CONNECTIONS, timeouts=timeouts)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                is_empty = await self._drain()
            except Exception as error:  # noqa: BLE001 - whatever it is, entries must not stay behind: try again
                self._note(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                await self._alarm.sleep(_QUIET_POLL_SECONDS if is_empty and self._listener.is_listening else _POLL_SECONDS)

    async def _drain(self) -> bool:
        """Send until the outbox is empty; ``False`` when it is in another relay's hands."""
        while await self._look():
            for _ in range(_BATCHES_A_LOOK):
                if not await self._send():
                    return False
        return True

    async def _look(self) -> bool:
        async with self._pool.acquire(timeout=_STATEMENT_SECONDS) as connection:
            row = await connection.fetchrow(self._sql["outbox_standing"])
        if row is None:
            return False
        self._answered_at = self._clock.monotonic()
        self._entries.set(row["entries"])
        self._age.set(0 if row["oldest"] is None else max(0, self._clock.micros() - row["oldest"]) / 1e6)
        return bool(row["entries"])

    async def _send(self) -> bool:
        """One batch; ``False`` when there was nothing for this relay to do."""
        if not self._is_checked:
            await kafka.check_topics(self._settings, self.region)
            self._is_checked = True
        async with self._pool.acquire(timeout=_STATEMENT_SECONDS) as connection, connection.transaction():
            if not await connection.fetchval(self._sql["lock_region"]):
                return False
            rows = await connection.fetch(self._sql["oldest_entries"], _BATCH_ENTRIES, _BATCH_BYTES)
            self._faults.hit("before_relay_publish")
            await self._publish(rows)
            self._faults.hit("after_relay_ack")
            await connection.execute(self._sql["delete_entries"], [row["position"] for row in rows])
            self._faults.hit("before_relay_commit")
        self._faults.hit("after_relay_commit")
        self._answered_at = self._clock.monotonic()
        self._relayed.inc(len(rows))
        return bool(rows)

    async def _publish(self, rows: Sequence[Row]) -> None:
        """Return when all are acknowledged. Of one workspace, they are sent in order, and nothing else meanwhile."""
        lanes: defaultdict[int, list[Record]] = defaultdict(list)
        for row in rows:
            workspace_id = str(row["workspace_id"])
            lanes[partition_of(workspace_id, self._settings.topic_partitions)].append(_record(row))
        sent = [self._publisher.publish(self._topic, partition, records) for partition, records in lanes.items()]
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            if outcome is not None:
                raise outcome

    def _note(self, error: Exception) -> None:
        name = type(error).__name__
        self._retries.labels(self.region.value, name).inc()
        if isinstance(error, TopicMismatch):
            _LOG.critical("nothing is relayed", region=self.region, reason=str(error))
        elif isinstance(error, _AWAY) or is_unavailable(error):
            _LOG.warning("retrying", region=self.region, error=name)
        else:
            _LOG.exception("retrying", region=self.region)


def _record(row: Row) -> Record:
    """The Kafka record, its ``traceparent`` made of the entry itself, so that a repeat has the same."""
    key, value = str(row["workspace_id"]).encode(), row["record"]
    try:
        envelope = open_envelope(value)
    except Undecodable:  # sent all the same: the chain worker rejects it where it can be seen, and the next ones go on
        return Record(key, value, [])
    told = (envelope.company_id, envelope.workspace_id, [each.id_text for each in envelope.events])
    if told != (str(row["company_id"]), str(row["workspace_id"]), [str(row["event_id"])]):
        _LOG.error("an entry is not its row's", event_id=row["event_id"], company_id=row["company_id"])
        return Record(key, _MISFIT + value, [])
    event = envelope.events[0]
    trace_id, span_id = event.trace_id.hex(), event.id[8:].hex()
    return Record(key, value, [("traceparent", f"00-{trace_id}-{span_id}-01".encode())])
