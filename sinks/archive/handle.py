"""From events to a part's two objects: their lines, block by block (schemas/seal.py). Pure but for what it remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from schemas.archive import BLOCK_BYTES, BLOCK_LINES, ArchiveRange, Block
from schemas.event import StoredEvent
from schemas.leaf import leaf_hash, leaf_of
from schemas.members import member
from schemas.seal import Salts, event_line, keys_header, salts_of


class NotAsMarked(Exception):
    """What is stored is not what was marked, or not intact: it is not archived, and stays where it is."""


class MarkedRange(NamedTuple):
    """A run of events as it was marked: the hash before its first one, and its last one's."""

    run: ArchiveRange
    first_prev_hash: bytes
    last_hash: bytes


class Written(NamedTuple):
    """Of an object: bytes and SHA-256 as it is stored, and SHA-256 of what it unzips to."""

    size: int
    sha256: bytes
    content_sha256: bytes


class Piece(NamedTuple):
    """What is to be added to the object of events and to that of salts."""

    events: bytes
    keys: bytes


class Object:
    """How an object grows by members."""

    def __init__(self) -> None:
        self.size = 0
        self._stored, self._content = sha256(), sha256()

    def member(self, content: bytes) -> bytes:
        """The next member, compressed."""
        packed = member(content)
        self.size += len(packed)
        self._stored.update(packed)
        self._content.update(content)
        return packed

    def written(self) -> Written:
        """What it is so far."""
        return Written(self.size, self._stored.digest(), self._content.digest())


class PartContent:
    """A part on its way from rows to bytes: checks each event against its range, and remembers what the row of the part has to tell."""

    def __init__(self, name: str, data_key: bytes, ranges: Sequence[MarkedRange]) -> None:
        """``name`` is the key of the object of events."""
        self.blocks: list[Block] = []
        self.rows = 0
        self.occurred_from = self.received_from = 2**63 - 1
        self.occurred_to = self.received_to = -(2**63)
        self.events, self.keys = Object(), Object()
        self._name = name
        self._salts = Salts(data_key, name, generation=0)
        self._ranges = iter(ranges)
        self._marked: MarkedRange | None = None
        self._seq, self._hash = 0, b""
        self._lines: list[bytes] = []
        self._salt_lines: list[bytes] = []
        self._bytes = 0
        self._first: tuple[str, int] = ("", 0)
        self._received = (0, 0)

    def begin(self) -> Piece:
        """What both objects begin with: that of salts says whose they are."""
        return Piece(b"", self.keys.member(keys_header(self._name, 0) + b"\n"))

    def add(self, events: Sequence[StoredEvent]) -> Iterator[Piece]:
        """The next events, in order. Raises ``NotAsMarked``."""
        for event in events:
            self._check(event)
            line = event_line(event)
            if not self._lines:
                self._first, self._received = (event.workspace_id, event.seq), (event.received_at, event.received_at)
            self._lines.append(line)
            self._salt_lines.append(self._salts.encrypt(self.rows, salts_of(event)))
            self._note(event)
            self._bytes += len(line)
            if len(self._lines) == BLOCK_LINES or self._bytes >= BLOCK_BYTES:
                yield self._block()

    def end(self) -> Iterator[Piece]:
        """What is left, once all events were added. Raises ``NotAsMarked`` when some are missing."""
        if self._marked is None or self._seq != self._marked.run.to_seq or next(self._ranges, None) is not None:
            raise NotAsMarked(f"the events end at {self._where()}")
        if self._lines:
            yield self._block()

    def _check(self, event: StoredEvent) -> None:
        if self._marked is None or self._seq == self._marked.run.to_seq:
            self._marked = next(self._ranges, None)
            if self._marked is None:
                raise NotAsMarked(f"there are more events than marked, behind {self._where()}")
            self._seq, self._hash = self._marked.run.from_seq - 1, self._marked.first_prev_hash
        run = self._marked.run
        if (event.workspace_id, event.seq) != (run.workspace_id, self._seq + 1):
            raise NotAsMarked(f"{event.workspace_id} seq {event.seq} follows {self._where()}")
        if event.prev_hash != self._hash:
            raise NotAsMarked(f"{run.workspace_id} seq {event.seq}: prevHash is not the hash before it")
        if leaf_hash(leaf_of(event)) != event.hash:
            raise NotAsMarked(f"{run.workspace_id} seq {event.seq}: hash is not its leaf's")
        self._seq, self._hash = event.seq, event.hash
        if event.seq == run.to_seq and event.hash != self._marked.last_hash:
            raise NotAsMarked(f"{run.workspace_id} seq {event.seq}: hash is not the one that was marked")

    def _note(self, event: StoredEvent) -> None:
        self.rows += 1
        first, last = self._received
        self._received = (min(first, event.received_at), max(last, event.received_at))
        self.occurred_from = min(self.occurred_from, event.timestamp)
        self.occurred_to = max(self.occurred_to, event.timestamp)

    def _block(self) -> Piece:
        received_from, received_to = self._received
        self.received_from, self.received_to = min(self.received_from, received_from), max(self.received_to, received_to)
        places = (self.events.size, self.keys.size)
        self.blocks.append(Block(*self._first, len(self._lines), *places, received_from, received_to))
        piece = Piece(self.events.member(_joined(self._lines)), self.keys.member(_joined(self._salt_lines)))
        self._lines, self._salt_lines, self._bytes = [], [], 0
        return piece

    def _where(self) -> str:
        return "nothing" if self._marked is None else f"{self._marked.run.workspace_id} seq {self._seq}"


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"
