"""Events out of the archive, a block at a time. Blocking: for threads (``asyncio.to_thread``)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ops.archive.parts import Part
from ops.objects import ObjectStore
from schemas.archive import BLOCK_BYTES
from schemas.event import StoredEvent
from schemas.ids import received_at
from schemas.members import NotGzip, unzip_member
from schemas.seal import Salts, Unopenable, read_header, read_line, restored

_MOST_BLOCK_BYTES = 4 * BLOCK_BYTES
"""No block of ours unzips to more; whoever put another object there shall not fill our memory."""
_MILLISECOND = 1000


class PartReader:
    """Reads one part. Its methods raise what ``ObjectStore`` raises (``Cold`` and ``NotThere`` among it) and ``Unopenable``."""

    def __init__(self, objects: ObjectStore, part: Part, data_key: bytes) -> None:
        self._objects = objects
        self._part = part
        self._data_key = data_key

    def events(self, workspace_id: str, from_seq: int, to_seq: int) -> Iterator[list[StoredEvent]]:
        """A workspace's events from one seq to another one, both inclusive, in order: a list a block, whatever the part has of them."""
        for number in self._part.blocks.holding(workspace_id, from_seq, to_seq):
            yield [event for event in self._block(number) if event.workspace_id == workspace_id and from_seq <= event.seq <= to_seq]

    def find(self, event_id: str) -> StoredEvent | None:
        """One event by its id, which tells when it was received (UUID version 7, as all of ours are)."""
        earliest = received_at(event_id)
        wanted = b'"id":"%b"' % event_id.encode()
        for number in self._part.blocks.received_in(earliest, earliest + _MILLISECOND - 1):
            if wanted not in (content := self._unzip(self._part.key, *self._part.blocks.extent(number))):
                continue
            for event in self._opened(number, content):
                if event.id == event_id:
                    return event
        return None

    @cached_property
    def _salts(self) -> Salts:
        header = self._unzip(self._part.keys_key, 0, self._part.blocks.blocks[0].keys_offset)
        name, generation = read_header(header)
        if name != self._part.key:
            raise Unopenable(f"{self._part.keys_key} is of {name}")
        return Salts(self._data_key, name, generation)

    def _block(self, number: int) -> Iterator[StoredEvent]:
        return self._opened(number, self._unzip(self._part.key, *self._part.blocks.extent(number)))

    def _opened(self, number: int, content: bytes) -> Iterator[StoredEvent]:
        salts, first = self._salts, self._part.blocks.first_line(number)
        lines = content.splitlines()
        keys = self._unzip(self._part.keys_key, *self._part.blocks.keys_extent(number)).splitlines()
        if not len(lines) == len(keys) == self._part.blocks.blocks[number].lines:
            raise Unopenable(f"block {number} of {self._part.key} does not hold the lines that it should")
        return (
            restored(read_line(line), salts.decrypt(first + place, key)) for place, (line, key) in enumerate(zip(lines, keys, strict=True))
        )

    def _unzip(self, key: str, start: int, end: int) -> bytes:
        try:
            return unzip_member(self._objects.get(key, start, end), _MOST_BLOCK_BYTES)
        except NotGzip as error:
            raise Unopenable(f"{key} can't be unzipped from {start} to {end}: {error}") from None
