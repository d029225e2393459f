"""Kafka clients and topics, made from the settings: the only door to aiokafka outside ``streams``."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, NoError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context
from aiokafka.partitioner import murmur2
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from ops.long_poll import LongPoll
from ops.settings import Settings
from schemas import topics
from schemas.topics import Region

__all__ = ["AIOKafkaProducer", "ConsumerRecord", "KafkaError", "MessageSizeTooLargeError", "TopicPartition"]

MAX_RECORD_BYTES = 16 << 20
"""Of the ingest and rejected topics: the largest legal batch with its leaves and salts fits."""
_BATCH_BYTES = 1 << 20
_TOPIC_PARTITION_BYTES, _TOPIC_FETCH_BYTES = 1 << 20, 8 << 20
_TOPIC_FETCH_WAIT_MS, _TOPIC_FETCH_RECORDS = 50, 500
FETCHER_MS = 2_000
"""How often aiokafka's fetcher looks around while none of what it waits for has happened."""
_REQUEST_TIMEOUT_MS = 10_000


class TopicMismatch(Exception):
    """A topic exists and is not what the settings say; going on would break an order or a promise."""


class TopicRefused(Exception):
    """The brokers did not make a topic; the message says which, and why."""


class Topic(NamedTuple):
    """What the brokers say of a topic. A topic that was deleted and made anew has another id."""

    id: uuid.UUID
    partitions: int


def connection(settings: Settings, region: Region) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client of the region takes."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka(region).split(","),
        "security_protocol": settings.kafka_security_protocol,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
    }
    if "SASL" in settings.kafka_security_protocol:
        password = settings.kafka_sasl_password
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    if context := ssl_context(settings):
        arguments["ssl_context"] = context
    return arguments


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context that the settings ask for, or ``None`` without TLS."""
    if "SSL" not in settings.kafka_security_protocol:
        return None
    context: ssl.SSLContext = create_ssl_context(cafile=settings.kafka_ssl_cafile)
    return context


def producer(settings: Settings, region: Region) -> AIOKafkaProducer:
    """An idempotent producer (acks=all). ``linger_ms=0``: records batch by themselves while a request is under way."""
    return AIOKafkaProducer(
        **connection(settings, region),
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=_BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
        compression_type=settings.kafka_compression,
        metadata_max_age_ms=30_000,
    )


def consumer(settings: Settings, region: Region, **arguments: Any) -> AIOKafkaConsumer:
    """A consumer without a group: who reads decides where from."""
    # 50 ms: while a busy partition waits, aiokafka long-polls only the idle ones (streaming facts §1.4).
    return AIOKafkaConsumer(
        **connection(settings, region),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        **arguments,
    )


@lru_cache(maxsize=100_000)
def partition_of(workspace_id: str, partitions: int) -> int:
    """The partition of a workspace: Kafka's default partitioner over its id. Cached, since murmur2 in Python costs 5 µs."""
    number: int = murmur2(workspace_id.encode())
    return (number & 0x7FFFFFFF) % partitions


async def ensure_topics(settings: Settings) -> None:
    """Create what is missing of every served region's topics, then check all. Raises ``TopicRefused``, ``TopicMismatch``."""
    for region in settings.regions:
        async with _admin(settings, region) as admin:
            _check_created((await admin.create_topics(_new_topics(settings, region))).topic_errors)
        await _become_known(settings, region)
        await check_topics(settings, region)


def _check_created(answers: Iterable[tuple[Any, ...]]) -> None:
    """Raise ``TopicRefused`` for what the brokers refused for good: aiokafka raises nothing, and answers codes."""
    refused = []
    for name, code, *reason in answers:
        error = for_code(code)
        if error not in (NoError, TopicAlreadyExistsError) and not error.retriable:
            refused.append(f"topic {name}: {error.__name__} {' '.join(filter(None, reason))}".rstrip())
    if refused:
        raise TopicRefused("; ".join(refused))


async def delete_topics(settings: Settings, region: Region) -> None:
    """Delete the region's topics with all that is in them. Raises ``TimeoutError`` when the brokers go on knowing them."""
    doomed = {topic.name for topic in _new_topics(settings, region)}
    async with _admin(settings, region) as admin:
        await admin.delete_topics(sorted(doomed))
    async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
        while doomed & (await describe(settings, region)).keys():
            await asyncio.sleep(0.05)


async def _become_known(settings: Settings, region: Region) -> None:
    """In KRaft a creation is answered a moment before every broker knows of the topic."""
    wanted = {topic.name for topic in _new_topics(settings, region)}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
            while not wanted <= (await describe(settings, region)).keys():
                await asyncio.sleep(0.05)


async def check_topics(settings: Settings, region: Region) -> dict[str, Topic]:
    """The region's topics by name. Raises ``TopicMismatch`` when one is missing or has another partition count."""
    return compare(await describe(settings, region), settings, region)


def compare(found: Mapping[str, Topic], settings: Settings, region: Region) -> dict[str, Topic]:
    """The region's topics of those found. Raises as ``check_topics``."""
    wanted = (topics.ingest_topic(region), topics.events_topic(region), topics.rejected_topic(region), topics.archive_topic(region))
    for name in wanted:
        if name not in found:
            raise TopicMismatch(f"topic {name} does not exist")
    for name in wanted[:2]:
        if found[name].partitions != settings.topic_partitions:
            raise TopicMismatch(
                f"topic {name} has {found[name].partitions} partitions, TOPIC_PARTITIONS says {settings.topic_partitions}: "
                "the count is fixed for the life of the topic pair"
            )
    return {name: found[name] for name in wanted}


async def describe(settings: Settings, region: Region) -> dict[str, Topic]:
    """Every topic of the region's cluster."""
    async with _admin(settings, region) as admin:
        return await _describe(admin._client)


async def _describe(client: Any) -> dict[str, Topic]:
    # aiokafka has no request with topic ids; its own client sends ours
    response = await client.send(client.get_random_node(), _MetadataRequest())
    return {name: Topic(topic_id, len(partitions)) for _, name, topic_id, _, partitions, *_ in response.topics}


class Bounds(NamedTuple):
    """The offsets a partition's log holds: from ``start`` to before ``end``."""

    start: int
    end: int


class LogView:
    """What the brokers say of topics and their logs, over one lasting connection."""

    def __init__(self, settings: Settings, region: Region) -> None:
        self._consumer = consumer(settings, region)

    async def start(self) -> None:
        """Connect. Raises ``KafkaError``."""
        await self._consumer.start()
        await asyncio.sleep(0)  # aiokafka's stop() raises CancelledError when its tasks were never given a turn

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def topics(self) -> dict[str, Topic]:
        """Every topic by name. Raises ``KafkaError``."""
        return await _describe(self._consumer._client)

    async def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Bounds]:
        """The bounds of a topic's partitions. Raises ``KafkaError``."""
        wanted = [TopicPartition(topic, number) for number in partitions]
        starts = await self._consumer.beginning_offsets(wanted)
        ends = await self._consumer.end_offsets(wanted)
        return {tp.partition: Bounds(starts[tp], ends[tp]) for tp in wanted}

    async def first_since(self, topic: str, partitions: Iterable[int], milliseconds: int) -> dict[int, int | None]:
        """The first offset of each partition that was written at or after a time; ``None`` when nothing was."""
        found = await self._consumer.offsets_for_times({TopicPartition(topic, number): milliseconds for number in partitions})
        return {tp.partition: None if place is None else place.offset for tp, place in found.items()}


class TopicReader:
    """Reads all partitions of a topic, without a group, from where they end when it starts."""

    def __init__(self, settings: Settings, region: Region, topic: str) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(
            **connection(settings, region),
            enable_auto_commit=False,
            auto_offset_reset="none",  # what the log no longer has is for its user to know of
            fetch_max_wait_ms=_TOPIC_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_TOPIC_PARTITION_BYTES,
            fetch_max_bytes=_TOPIC_FETCH_BYTES,
            consumer_timeout_ms=FETCHER_MS,
        )
        LongPoll(self._consumer)

    async def start(self) -> None:
        """Connect. What comes to the topic from now on will be read. Raises ``KafkaError``, ``TopicMismatch`` without a topic."""
        await self._consumer.start()
        await asyncio.sleep(0)
        await self._consumer._client._wait_on_metadata(self._topic)
        partitions = [TopicPartition(self._topic, number) for number in sorted(self._consumer.partitions_for_topic(self._topic) or ())]
        if not partitions:
            raise TopicMismatch(f"topic {self._topic} does not exist")
        self._consumer.assign(partitions)
        for partition, end in (await self._consumer.end_offsets(partitions)).items():
            self._consumer.seek(partition, end)

    async def fetch(self, seconds: float) -> Sequence[ConsumerRecord]:
        """The next records, in order within each partition; none when there are none for so long. Raises ``KafkaError``."""
        found: Mapping[TopicPartition, list[ConsumerRecord]]
        found = await self._consumer.getmany(timeout_ms=round(seconds * 1000), max_records=_TOPIC_FETCH_RECORDS)
        return [record for records in found.values() for record in records]

    async def topic_id(self) -> uuid.UUID | None:
        """Of the topic as it is now; ``None`` when there is none. Raises ``KafkaError``."""
        found = (await _describe(self._consumer._client)).get(self._topic)
        return None if found is None else found.id

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()


async def read_topic(settings: Settings, region: Region, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Every record from the topic's beginning to where it ends now, partition by partition."""
    reader = consumer(settings, region)
    await reader.start()
    try:
        await reader._client._wait_on_metadata(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
        ends = await reader.end_offsets(partitions)
        for partition in partitions:
            reader.assign([partition])
            await reader.seek_to_beginning(partition)
            async for record in _until(reader, partition, ends[partition]):
                yield record
    finally:
        await reader.stop()


async def _until(reader: AIOKafkaConsumer, partition: TopicPartition, end: int) -> AsyncIterator[ConsumerRecord]:
    while await reader.position(partition) < end:
        batches: Mapping[TopicPartition, list[ConsumerRecord]] = await reader.getmany(partition, timeout_ms=1000)
        for record in batches.get(partition, ()):
            if record.offset < end:
                yield record


def _new_topics(settings: Settings, region: Region) -> list[NewTopic]:
    common = {
        "retention.ms": str(settings.topic_retention_hours * 3_600_000),
        "min.insync.replicas": str(max(1, settings.topic_replication - 1)),
        "cleanup.policy": "delete",
        "unclean.leader.election.enable": "false",
        # By the broker's clock: by the producer's, retention deletes what a host with a wrong one has just had acknowledged.
        "message.timestamp.type": "LogAppendTime",
    }
    large = common | {"max.message.bytes": str(MAX_RECORD_BYTES)}
    count, replicas = settings.topic_partitions, settings.topic_replication
    return [
        NewTopic(topics.ingest_topic(region), count, replicas, topic_configs=large),
        NewTopic(topics.events_topic(region), count, replicas, topic_configs=common | {"max.message.bytes": str(2 << 20)}),
        NewTopic(topics.rejected_topic(region), 1, replicas, topic_configs=large),
        NewTopic(topics.archive_topic(region), count, replicas, topic_configs=common | {"max.message.bytes": str(2 << 20)}),
    ]


@contextlib.asynccontextmanager
async def _admin(settings: Settings, region: Region) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection(settings, region))
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
            await admin.start()
        yield admin
    finally:
        await admin.close()


class _Uuid:
    """Kafka's UUID type, which aiokafka lacks."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponse(Response):
    """Metadata v10, the first with topic ids (KIP-516)."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", CompactString()), ("port", Int32), ("rack", CompactString()), ("tags", TaggedFields)),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV10]):
    """All topics of the cluster."""

    API_KEY: ClassVar[int] = 3

    def build(self, request_struct_class: type[_MetadataRequestV10]) -> _MetadataRequestV10:
        return request_struct_class(None, False, False, False, {})
