"""The Faust app of a chain worker: one agent over the ingest topics of its regions, an actor for each partition."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import faust
from aiokafka.errors import IllegalStateError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from ops import kafka, log
from ops.clock import Clock, SystemClock
from ops.db import is_unavailable
from ops.faults import FaultPoints
from ops.kafka import KafkaError, LogView
from ops.metrics import Metrics
from ops.settings import Settings
from streams.region import RegionWorker, by_topic
from streams.transport import ChunkApp

_LOG = log.get(__name__)
_BUFFERED_CHUNKS = 2
_TURN_SECONDS = 0.1
"""How often a partition gets a transaction under load. One costs 3 ms of CPU here and in Postgres, whatever it holds: with
ten events each, single posts took 140 µs of the worker and 70 of Postgres an event, and with a hundred 56 and 19 (ADR 5)."""
_LOOK_SECONDS = 0.02
_KAFKA_PAUSE_SECONDS = 1.0
_FETCH_BYTES = 1 << 20
"""Of a partition in one fetch; a larger record comes alone."""


class FaustFlow:
    """The consumer as the regions see it."""

    def __init__(self, app: ChunkApp) -> None:
        self._app = app

    def assigned(self, topic: str) -> set[int]:
        """The partitions of a topic that this worker owns now."""
        with contextlib.suppress(ConsumerNotStarted):
            return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == topic}
        return set()

    def keep_going(self) -> bool:
        """False during a rebalance and at shutdown."""
        return bool(self._app.consumer.flow_active) and not self._app.should_stop

    def is_deaf(self) -> bool:
        """The coordination of aiokafka dies of metadata without brokers (a starting broker sends it); Faust notices only while it reads."""
        if self._app.should_stop:
            return False
        with contextlib.suppress(ConsumerNotStarted):
            coordinator = self._app.consumer._thread._ensure_consumer()._coordinator
            return coordinator is not None and bool(coordinator._coordination_task.done())
        return False

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Seek through the consumer's own thread, which also corrects Faust's idea of what was read."""
        tp = TP(topic, partition)
        try:
            await self._app.consumer._thread.seek_wait({tp: offset})
        except IllegalStateError:  # revoked meanwhile: its next owner seeks
            return
        self._app.consumer.resume_partitions({tp})

    def pause(self, topic: str, partition: int) -> None:
        """Stop fetching a partition."""
        self._app.consumer.pause_partitions({TP(topic, partition)})


class Worker:
    """A chain worker: the app, its regions, and what health checks ask."""

    def __init__(self, settings: Settings, *, metrics: Metrics, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        faults = FaultPoints(settings.fault_points)
        self.regions = [RegionWorker(settings, region, metrics=metrics, clock=clock, faults=faults) for region in settings.regions]
        self._settings = settings
        self.app = self._make_app(settings)
        flow = FaustFlow(self.app)
        for region in self.regions:
            region.flow = flow
        self._agent(self.app)

    async def wait_for_kafka(self) -> None:
        """Return once the brokers know our topics, however long it takes: Faust's own start gives up at the first refusal.

        A broker that is still starting may know neither topics nor brokers. Raises ``TopicMismatch`` when a
        topic is not what the settings say.
        """
        while not {region.topic for region in self.regions} <= (found := await self._topics()).keys():
            _LOG.warning("kafka does not know our topics")
            await asyncio.sleep(_KAFKA_PAUSE_SECONDS)
        for region in self._settings.regions:
            kafka.compare(found, self._settings, region)

    async def _topics(self) -> Mapping[str, kafka.Topic]:
        """Every topic, or none while Kafka can't be reached."""
        view = LogView(self._settings, self._settings.regions[0])
        try:
            await view.start()
            return await view.topics()
        except KafkaError as error:
            _LOG.warning("kafka is not reached", error=type(error).__name__)
            return {}
        finally:
            await view.stop()

    def _make_app(self, settings: Settings) -> ChunkApp:
        connections = [kafka.connection(settings, region) for region in settings.regions]
        if any(connection["bootstrap_servers"] != connections[0]["bootstrap_servers"] for connection in connections):
            raise ValueError("a worker serves regions of one Kafka cluster: run one per cluster (REGIONS)")
        app = ChunkApp(
            id="hyrelog.streams." + ".".join(region.lower() for region in settings.regions),
            broker=[f"kafka://{server}" for server in connections[0]["bootstrap_servers"]],
            key_serializer="raw",
            value_serializer="raw",
            # Never waited for: a chunk cut off is not persisted, and comes again.
            stream_wait_empty=False,
            stream_buffer_maxsize=_BUFFERED_CHUNKS,
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
            table_standby_replicas=0,
            consumer_max_fetch_size=_FETCH_BYTES,
            broker_session_timeout=settings.streams_session_timeout_seconds,
            broker_heartbeat_interval=settings.streams_session_timeout_seconds / 10,
            broker_rebalance_timeout=settings.streams_session_timeout_seconds,
            broker_max_poll_interval=24 * 3600.0,  # retrying in place may take as long as Postgres is away
            datadir=tempfile.gettempdir() + "/hyrelog-streams",
            loghandlers=[],
        )
        app.positions = self._positions
        app.chunk_bytes = settings.streams_chunk_bytes
        app.aiokafka_arguments = connections[0]
        app.on_fetch_failure = self._look_soon
        return app

    def _look_soon(self) -> None:
        """A consumer that lost its broker may not find its way back by itself."""
        for region in self.regions:
            region.look_soon()

    def _agent(self, app: ChunkApp) -> None:
        region_of = by_topic(self.regions)
        topic = app.topic(*[region.topic for region in self.regions], key_serializer="raw", value_serializer="raw")

        async def chain(stream: faust.StreamT[Sequence[Any]]) -> None:
            # Faust cancels the actor of a revoked partition. Let out, that counts as a crash: the actor is restarted for a
            # partition we lost, and two such restarts within 10 ms end the worker (mode's bucket of "100 a second" holds one).
            queue, now = stream.channel.queue, asyncio.get_running_loop().time
            with contextlib.suppress(asyncio.CancelledError):
                async for event in stream.events():
                    began = now()
                    gathered = [event, *_waiting(queue)]
                    tp = event.message.tp
                    await region_of(tp.topic).on_chunk(tp.partition, [record for each in gathered for record in each.value])
                    for each in gathered[1:]:  # the first one is the stream's to ack
                        each.ack()
                    while now() < began + _TURN_SECONDS and not queue.full():  # a backlog needs no time to gather
                        await asyncio.sleep(_LOOK_SECONDS)

        app.agent(topic, name="chain", isolated_partitions=True, concurrency=1)(chain)

    async def _positions(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Where to go on, of the partitions whose region's Postgres answers."""
        wanted = list(partitions)
        found: dict[TP, int] = {}
        for region in self.regions:
            numbers = [tp.partition for tp in wanted if tp.topic == region.topic]
            try:
                offsets = await region.positions(numbers) if numbers else {}
            except Exception as error:
                if not is_unavailable(error):
                    raise
                _LOG.warning("positions unknown", region=region.region, error=type(error).__name__)
                continue
            found |= {TP(region.topic, number): offset for number, offset in offsets.items()}
        return found


def _waiting(queue: asyncio.Queue[faust.EventT]) -> Iterator[faust.EventT]:
    """The chunks that gathered meanwhile: under steady load a transaction takes longer than a fetch, and small ones would queue up."""
    while not queue.empty():
        yield queue.get_nowait()
