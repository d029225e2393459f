"""Announcing: what was persisted goes to the events topic, in the order of its source, and rejections to theirs.

Right after a commit from memory; from Postgres where somebody committed and died before announcing.
Both give the same bytes, so that a repeat is a true repeat.
"""

from __future__ import annotations

import io

import fastavro

from ops.faults import FaultPoints
from ops.publish import Publisher, Record
from schemas.codec import REJECTED_HEADER, REJECTED_PARSED, encode_stored
from schemas.topics import Region, events_topic, rejected_topic
from streams.sequence import Place, Rejection, announcement_headers
from streams.store import Store

_PAGE = 1000
_REJECTED_PAGE = 10  # an original may be as large as a record
_REJECTED_PARTITION = 0
_BEFORE_FIRST_INDEX = -2


class Announcer:
    """Publishes one region's events and rejections and waits for their acknowledgement."""

    def __init__(self, region: Region, store: Store, publisher: Publisher, faults: FaultPoints) -> None:
        self._events = events_topic(region)
        self._rejected = rejected_topic(region)
        self._store = store
        self._publisher = publisher
        self._faults = faults

    async def announce(self, partition: int, events: list[Record], rejections: list[Rejection], now: int) -> None:
        """Publish a chunk just committed. Raises as ``Publisher.publish``; a part may be on the topic then."""
        self._faults.hit("before_announce")
        if events:
            await self._publisher.publish(self._events, partition, events)
            self._faults.hit("between_announcements")
        for first in range(0, len(rejections), _REJECTED_PAGE):
            await self._publish_rejections(partition, [(rejection, now) for rejection in rejections[first : first + _REJECTED_PAGE]])
        self._faults.hit("after_announce")

    async def announce_stored(self, partition: int, start: int, end: int) -> int:
        """Publish what is stored of positions ``start`` to before ``end``, page by page. Returns the number of events."""
        count = 0
        place = Place(start, _BEFORE_FIRST_INDEX)
        while page := await self._store.events_after(partition, place, end, _PAGE):
            records = [
                Record(
                    event.workspace_id.encode(),
                    encode_stored(event),
                    announcement_headers(event.id.encode(), event.trace_id.encode()),
                )
                for event in page
            ]
            await self._publisher.publish(self._events, partition, records)
            self._faults.hit("in_reannounce")
            count += len(page)
            place = Place(page[-1].source_offset, page[-1].source_index)
        place = Place(start, _BEFORE_FIRST_INDEX)
        while rejected := await self._store.rejections_after(partition, place, end, _REJECTED_PAGE):
            await self._publish_rejections(partition, rejected)
            place = rejected[-1][0].place
        return count

    async def _publish_rejections(self, partition: int, rejected: list[tuple[Rejection, int]]) -> None:
        records = [_rejected_record(partition, rejection, at) for rejection, at in rejected]
        await self._publisher.publish(self._rejected, _REJECTED_PARTITION, records)


def _rejected_record(partition: int, rejection: Rejection, rejected_at: int) -> Record:
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out,
        REJECTED_PARSED,
        {
            "id": rejection.id,
            "companyId": rejection.company_id,
            "workspaceId": rejection.workspace_id,
            "reason": rejection.refusal.reason,
            "detail": rejection.refusal.detail,
            "receivedAt": rejection.received_at,
            "rejectedAt": rejected_at,
            "sourcePartition": partition,
            "sourceOffset": rejection.place.position,
            "sourceIndex": rejection.place.number,
            "original": rejection.original,
        },
    )
    key = (rejection.workspace_id or "").encode()
    return Record(key, REJECTED_HEADER + out.getvalue(), [])
