"""Accepting: from checked events to an envelope that Kafka acknowledged. After this, they can't be lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingest.gate import Gate
from ops import tracing
from ops.kafka import KafkaError, MessageSizeTooLargeError, partition_of
from ops.metrics import Metrics
from ops.publish import AckTimeout, Publisher, Pushback, Record
from ops.tracing import Kind
from schemas import codec, ids
from schemas.envelope import SALTS_BYTES, Receipt, envelope, seal
from schemas.incoming import IncomingEvent
from schemas.problems import PayloadTooLarge, Unavailable
from schemas.topics import Region, ingest_topic

_RANDOM_BYTES = SALTS_BYTES + ids.RANDOM_BYTES
_RANDOM_PAGE = 8192
_EVENTS_PER_TURN = 100
UNKNOWN_OUTCOME = "Kafka did not acknowledge in time: the event may still be stored"


class NotAccepted(Unavailable):
    """Nothing was accepted: it can be sent again without doubling anything."""


class RandomPool:
    """Randomness of the operating system, drawn by the page: a system call a request would cost 2 µs."""

    def __init__(self) -> None:
        self._page = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """``size`` bytes that are given out once."""
        if self._at + size > len(self._page):
            self._page, self._at = os.urandom(_RANDOM_PAGE), 0
        taken = self._page[self._at : self._at + size]
        self._at += size
        return taken


class Sealed(NamedTuple):
    """A request's events as one record, ready for Kafka, and their ids in order."""

    region: Region
    partition: int
    ids: list[str]
    record: Record


class Keyed(NamedTuple):
    """What an event with an idempotency key is published under: an id, its time of receipt in microseconds, ``content_hashes``."""

    id: str
    received_at: int
    content: bytes


class Acceptor:
    """Seals events and hands them to Kafka, one record a request."""

    def __init__(self, publishers: Mapping[Region, Publisher], gates: Mapping[Region, Gate], partitions: int, *, metrics: Metrics) -> None:
        self._publishers = publishers
        self._gates = gates
        self._partitions = partitions
        self._random = RandomPool()
        self._accepted = {region: metrics.accepted.labels(region.value).inc for region in publishers}
        self._errors = metrics.publish_errors
        self._topics = {region: ingest_topic(region) for region in publishers}

    def check(self, receipt: Receipt) -> int:
        """The partition of a request's events. Raises ``NotAccepted`` when it takes nothing now."""
        partition = partition_of(receipt.workspace_id, self._partitions)
        if reason := self._gates[receipt.data_region].closed(partition):
            raise NotAccepted(reason)
        return partition

    def propose(self, received_at: int) -> str:
        """A new id for an event received then (microseconds)."""
        return ids.uuid7(received_at, self._random.take(ids.RANDOM_BYTES))

    async def seal(
        self, events: Sequence[IncomingEvent], receipt: Receipt, traceparent: bytes, keyed: Sequence[Keyed | None] = ()
    ) -> Sealed:
        """Make the record of a request's events. Raises as ``check``.

        ``keyed`` has one entry for each event, if one of them has an idempotency key.
        """
        partition = self.check(receipt)
        tenancy = codec.tenancy(receipt.company_id, receipt.workspace_id)
        made, items = [], []
        for index, event in enumerate(events):
            if index % _EVENTS_PER_TURN == _EVENTS_PER_TURN - 1:
                await asyncio.sleep(0)  # a large batch must not keep all others waiting
            if keyed and (under := keyed[index]) is not None:
                made.append(under.id)
                items.append(self._seal_keyed(event, receipt, under, tenancy))
                continue
            random = self._random.take(_RANDOM_BYTES)
            event_id = ids.uuid7(receipt.received_at, random[SALTS_BYTES:])
            made.append(event_id)
            items.append(seal(event, receipt, id=event_id, salts=random, tenancy=tenancy))
        record = Record(receipt.workspace_id.encode(), envelope(tenancy, items), [("traceparent", traceparent)])
        return Sealed(receipt.data_region, partition, made, record)

    def _seal_keyed(self, event: IncomingEvent, receipt: Receipt, under: Keyed, tenancy: bytes) -> bytes:
        if under.received_at != receipt.received_at:
            receipt = receipt._replace(received_at=under.received_at)
        return seal(event, receipt, id=under.id, salts=self._random.take(SALTS_BYTES), tenancy=tenancy, content_hash=under.content)

    async def publish(self, sealed: Sealed) -> None:
        """Return once all in-sync replicas have it. Raises ``NotAccepted``, or ``Unavailable`` when it may be stored all the same."""
        region = sealed.region
        try:
            with tracing.child("publish", Kind.PRODUCER):
                await self._publishers[region].submit(self._topics[region], sealed.partition, [sealed.record])
        except MessageSizeTooLargeError:
            raise PayloadTooLarge("The events are larger than one record can be: send fewer at a time") from None
        except Pushback as error:
            self._count_error(region, error)
            raise NotAccepted(f"Nothing was accepted: {error}") from None
        except (AckTimeout, KafkaError) as error:
            self._count_error(region, error)
            raise Unavailable(UNKNOWN_OUTCOME) from None
        self._accepted[region](len(sealed.ids))

    def _count_error(self, region: Region, error: Exception) -> None:
        self._errors.labels(region.value, type(error).__name__).inc()
