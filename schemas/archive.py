"""What an archive's objects are called, and where in them an event is found (contract §7; ops/docs/archive.md).

Both objects of a part are gzip files of many members (RFC 1952 §2.2), a member a block of lines; they unzip as one file anywhere.
The index of blocks is kept in Postgres with the part, so that one event costs one block and not the whole object.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from struct import Struct
from typing import Any, Final, NamedTuple
from uuid import UUID

import fastavro

from schemas.codec import ARCHIVE_HEADER, ARCHIVE_PARSED, HEADER_BYTES, Undecodable

COLD_TAG: Final = "hyrelog-cold-after"
"""On objects of events that go cold: after how many days. What the bucket's lifecycle rules go by."""
BLOCK_LINES: Final = 1000
BLOCK_BYTES: Final = 2 << 20
"""A block ends with the line that fills one of the two: large events make few lines."""
_BLOCK = Struct(">16sqIQQqq")
_DAY_MICROS: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)
_OBJECT = re.compile(r"archives/([0-9a-f-]{36})/(\d{4})/(\d\d)/(\d\d)/events(?:-(\d{4,}))?\.jsonl\.gz").fullmatch


def events_key(company_id: str, day: date, part: int) -> str:
    """The object of a part's events: ``archives/{company}/2026/01/31/events.jsonl.gz``, later ones ``events-0002.jsonl.gz`` …"""
    return f"{_stem(company_id, day, part)}.jsonl.gz"


def keys_key(company_id: str, day: date, part: int) -> str:
    """The object of its salts: ``….keys.gz``."""
    return f"{_stem(company_id, day, part)}.keys.gz"


def keys_key_of(events: str) -> str:
    """The object of salts that belongs to an object of events. Raises ``ValueError`` for any other name."""
    if not _OBJECT(events):
        raise ValueError(f"{events} is no object of an archive")
    return events.removesuffix(".jsonl.gz") + ".keys.gz"


def _stem(company_id: str, day: date, part: int) -> str:
    number = "" if part == 1 else f"-{part:04d}"
    return f"archives/{company_id}/{day.isoformat().replace('-', '/')}/events{number}"


def day_of(micros: int) -> date:
    """The UTC day of a time in microseconds."""
    return _EPOCH + timedelta(days=micros // _DAY_MICROS)


def day_start(day: date) -> int:
    """Its first microsecond."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


class Block(NamedTuple):
    """One member of each of a part's objects: the same lines in both."""

    workspace_id: str
    """Of its first line, as is ``seq``."""
    seq: int
    lines: int
    offset: int
    """Where the member begins in the object of events, in bytes …"""
    keys_offset: int
    """… and in that of salts."""
    received_from: int
    """The earliest and latest receipt, in microseconds."""
    received_to: int


class Blocks:
    """The index of a part: its blocks in order, and the sizes of its objects."""

    def __init__(self, blocks: Sequence[Block], size: int, keys_size: int) -> None:
        self.blocks = blocks
        self._starts = [(block.workspace_id, block.seq) for block in blocks]
        self._ends = [(block.offset, block.keys_offset) for block in blocks[1:]] + [(size, keys_size)]
        self._firsts = [0]
        for block in blocks:
            self._firsts.append(self._firsts[-1] + block.lines)

    def pack(self) -> bytes:
        """As it is kept."""
        return b"".join(_BLOCK.pack(UUID(block.workspace_id).bytes, *block[1:]) for block in self.blocks)

    @classmethod
    def unpack(cls, packed: bytes, size: int, keys_size: int) -> Blocks:
        """The same again. Raises ``ValueError`` for what was cut."""
        if not packed or len(packed) % _BLOCK.size:
            raise ValueError("the index of a part is cut")
        return cls([Block(str(UUID(bytes=first)), *rest) for first, *rest in _BLOCK.iter_unpack(packed)], size, keys_size)

    def extent(self, number: int) -> tuple[int, int]:
        """First byte and the one behind the last, of a block's member in the object of events."""
        return self.blocks[number].offset, self._ends[number][0]

    def keys_extent(self, number: int) -> tuple[int, int]:
        """The same in the object of salts."""
        return self.blocks[number].keys_offset, self._ends[number][1]

    def first_line(self, number: int) -> int:
        """The number of a block's first line in the object, from 0."""
        return self._firsts[number]

    def holding(self, workspace_id: str, from_seq: int, to_seq: int) -> range:
        """The numbers of the blocks in which these events of a workspace are, if they are in the part."""
        first = max(0, bisect_right(self._starts, (workspace_id, from_seq)) - 1)
        return range(first, bisect_right(self._starts, (workspace_id, to_seq)))

    def received_in(self, earliest: int, latest: int) -> Iterator[int]:
        """The numbers of the blocks that may hold an event received then (microseconds, inclusive)."""
        return (number for number, block in enumerate(self.blocks) if block.received_from <= latest and block.received_to >= earliest)


class ArchiveRange(NamedTuple):
    """A run of a workspace's events, both ends inclusive."""

    workspace_id: str
    from_seq: int
    to_seq: int


class ArchiveWork(NamedTuple):
    """A part that is to be archived, as the archive topic tells it. What counts is the part's row in Postgres."""

    part_id: str
    company_id: str
    archive_day: date
    part: int
    ranges: tuple[ArchiveRange, ...]


def encode_work(work: ArchiveWork) -> bytes:
    """The record of the archive topic."""
    out = BytesIO()
    ranges = [{"workspaceId": each.workspace_id, "fromSeq": each.from_seq, "toSeq": each.to_seq} for each in work.ranges]
    record = {"partId": work.part_id, "companyId": work.company_id, "archiveDay": work.archive_day, "part": work.part, "ranges": ranges}
    fastavro.schemaless_writer(out, ARCHIVE_PARSED, record)
    return ARCHIVE_HEADER + out.getvalue()


def decode_work(record: bytes) -> ArchiveWork:
    """What ``encode_work`` gave. Raises ``Undecodable``."""
    if record[:HEADER_BYTES] != ARCHIVE_HEADER:
        raise Undecodable("not archive work of a known schema")
    try:
        found: Any = fastavro.schemaless_reader(BytesIO(record[HEADER_BYTES:]), ARCHIVE_PARSED, None)
    except (EOFError, IndexError, ValueError, OverflowError) as error:
        raise Undecodable(f"the record is cut or garbled: {type(error).__name__}") from None
    ranges = tuple(ArchiveRange(each["workspaceId"], each["fromSeq"], each["toSeq"]) for each in found["ranges"])
    return ArchiveWork(found["partId"], found["companyId"], found["archiveDay"], found["part"], ranges)
