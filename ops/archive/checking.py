"""Checking a part as it is stored: both objects, read to their end in flat memory, against all that was written down of them.

Blocking, for threads, and no I/O of its own: bytes come as chunks. Objects that were replaced, changed, cut or mixed up are told by name
and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ops.verify.archive import Flawed, LinesWalk, Run, opened
from schemas.archive import BLOCK_BYTES, Block, Blocks, keys_key_of
from schemas.event import StoredEvent
from schemas.members import NotGzip, unzip
from schemas.seal import Salts, Unopenable, read_header

_MOST_LINE_BYTES = 4 * BLOCK_BYTES
"""Many times the longest line of ours: whoever put another object there shall not fill our memory."""


class Bad(Exception):
    """An object is not what it should be; the message names it, and the line."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the part's row says of its objects. Times are microseconds, both ends inclusive."""

    key: str
    sha256: bytes
    content_sha256: bytes
    row_count: int
    blocks: Blocks
    size: int
    keys_size: int
    occurred: tuple[int, int]
    received: tuple[int, int]


def check_part(recorded: Recorded, ranges: Sequence[Run], data_key: bytes, events: Iterable[bytes], keys: Iterable[bytes]) -> int:
    """Read the chunks of both objects and compare; returns how many events they hold. ``ranges`` are in the order of the lines.

    Raises ``Bad``, and whatever the chunks raise.
    """
    return _Check(recorded, ranges, data_key, events, keys).run()


class _Object:
    """An object's lines as they come, each with the place of its member; hashed on the way."""

    def __init__(self, key: str, chunks: Iterable[bytes]) -> None:
        self.key = key
        self.size = 0
        self.line = 0
        """Of the last line that came, from 1."""
        self.stored, self.content = sha256(), sha256()
        self._chunks = chunks

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Raises ``Bad`` where it is no gzip file whose members hold whole lines."""
        place, rest = 0, b""
        try:
            for piece in unzip(self._counted()):
                if rest and piece.place != place:
                    break
                place = piece.place
                self.content.update(piece.data)
                *whole, rest = (rest + piece.data).split(b"\n")
                for line in whole:
                    self.line += 1
                    yield place, line
                if len(rest) > _MOST_LINE_BYTES:
                    raise self.bad(self.line + 1, "is too long to be one of ours")
        except NotGzip as error:
            raise self.bad(self.line + 1, f"does not unzip: {error}") from None
        if rest:
            raise self.bad(self.line + 1, "has no end where its block ends")

    def bad(self, line: int, message: str) -> Bad:
        """Of one of its lines."""
        return Bad(f"{self.key} line {line}: {message}")

    def _counted(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.stored.update(chunk)
            yield chunk


class _Check:
    def __init__(self, recorded: Recorded, ranges: Sequence[Run], data_key: bytes, events: Iterable[bytes], keys: Iterable[bytes]) -> None:
        self._recorded = recorded
        self._data_key = data_key
        self._events = _Object(recorded.key, events)
        self._keys = _Object(keys_key_of(recorded.key), keys)
        self._walk = LinesWalk(ranges)
        self._index = _Index(recorded.blocks.blocks)
        self._occurred, self._received = _Span(), _Span()

    def run(self) -> int:
        """Lines first: what is wrong with one says more than that the whole is another."""
        keys = self._keys.lines()
        salts = self._begin_keys(keys)
        try:
            for place, line in self._events.lines():
                read = self._walk.check(line)
                event = opened(read, self._walk.lines, self._salts_of(salts, keys))
                self._index.take(self._walk.lines, place, event)
                self._occurred.take(event.timestamp)
                self._received.take(event.received_at)
            self._walk.end()
            self._index.end()
        except Flawed as found:
            raise Bad(f"{self._events.key} {found.flaw}") from None
        except _Misplaced as found:
            raise self._events.bad(max(self._walk.lines, 1), str(found)) from None
        if (more := next(keys, None)) is not None:
            raise self._keys.bad(self._keys.line, f"is one too many: {len(more[1])} bytes")
        self._compare()
        return self._walk.lines

    def _begin_keys(self, keys: Iterator[tuple[int, bytes]]) -> Salts:
        try:
            name, generation = read_header(next(keys, (0, b""))[1])
        except Unopenable as error:
            raise self._keys.bad(1, str(error)) from None
        if name != self._recorded.key:
            raise self._keys.bad(1, f"says that it is of {name}")
        return Salts(self._data_key, name, generation)

    def _salts_of(self, salts: Salts, keys: Iterator[tuple[int, bytes]]) -> bytes:
        """What stands in the other object for the line of events that was read just now."""
        place, line = next(keys, (None, b""))
        if place is None:
            raise self._keys.bad(self._keys.line + 1, "is missing")
        self._index.keys_place = place
        try:
            return salts.decrypt(self._walk.lines - 1, line)
        except Unopenable as error:
            raise self._keys.bad(self._keys.line, str(error)) from None

    def _compare(self) -> None:
        recorded, events, keys = self._recorded, self._events, self._keys
        told = (
            (events.key, "its SHA-256", events.stored.hexdigest(), recorded.sha256.hex()),
            (events.key, "the SHA-256 of its lines", events.content.hexdigest(), recorded.content_sha256.hex()),
            (events.key, "its size", events.size, recorded.size),
            (keys.key, "its size", keys.size, recorded.keys_size),
            (events.key, "the count of its lines", self._walk.lines, recorded.row_count),
            (events.key, "the span of its timestamps", self._occurred.ends, recorded.occurred),
            (events.key, "the span of its receipts", self._received.ends, recorded.received),
        )
        for key, what, found, expected in told:
            if found != expected:
                raise Bad(f"{key}: {what} is {found}, recorded was {expected}")


class _Misplaced(Exception):
    """The index of blocks says otherwise."""


class _Span:
    """The least and the greatest of some numbers."""

    def __init__(self) -> None:
        self.ends = (2**63 - 1, -(2**63))

    def take(self, number: int) -> None:
        least, most = self.ends
        if number < least or number > most:
            self.ends = (min(least, number), max(most, number))


class _Index:
    """Compares where lines are with where the index of blocks says that they are."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.keys_place = -1
        """Of the member in which the salts of this line are."""
        self._left = iter(blocks)
        self._block: Block | None = None
        self._lines = 0
        self._received = _Span()

    def take(self, line: int, place: int, event: StoredEvent) -> None:
        """The next line, its member's place and its event."""
        if self._block is None or self._lines == self._block.lines:
            self.end_block()
            self._begin(line, event)
        block = self._block
        if block is None or (place, self.keys_place) != (block.offset, block.keys_offset):
            raise _Misplaced(f"is in the members at {place} and {self.keys_place}, which the index of blocks has elsewhere")
        self._lines += 1
        self._received.take(event.received_at)

    def end(self) -> None:
        """There are no more lines."""
        if self._block is None or self._lines != self._block.lines or next(self._left, None) is not None:
            raise _Misplaced("is the last one, and the index of blocks has more")
        self.end_block()

    def end_block(self) -> None:
        """The block's lines are over."""
        if self._block is not None and self._received.ends != (self._block.received_from, self._block.received_to):
            raise _Misplaced("ends a block whose receipts are others than its index has")

    def _begin(self, line: int, event: StoredEvent) -> None:
        self._block = next(self._left, None)
        self._lines, self._received = 0, _Span()
        if self._block is None or (self._block.workspace_id, self._block.seq) != (event.workspace_id, event.seq):
            raise _Misplaced(f"is not where the index of blocks begins one ({line})")
