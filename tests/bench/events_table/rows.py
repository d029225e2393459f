"""Made-up events as the chain worker would write them, cheap enough that the client is not what is measured."""

from __future__ import annotations

import os
import random
import struct
import uuid
from dataclasses import dataclass, field

from tests.bench.events_table.layout import FIRST_DAY, SOURCE_PARTITIONS, TEXTS, Variant, columns, preimages

CHUNK = 5_000
WORKSPACES = 200  # the first holds half of all events and has a source partition to itself
DAY_MICROS = 86_400_000_000
SPAN_MICROS = 10 * DAY_MICROS  # received_at advances ten days over the run
EPOCH_2000 = 946_684_800_000_000  # microseconds between 1970 and 2000

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_KEYS = struct.Struct(">hiqiqiqiqiQQi16siiii")  # the number of fields, then length and value of each of layout.KEYS


@dataclass
class Rows:
    """Chunks of rows in PostgreSQL's binary COPY format: one prepared buffer in which only the keys are rewritten.

    Every other chunk belongs to the large workspace and source partition 0; the rest go round the other
    partitions, each with its share of the small workspaces.
    """

    variant: Variant
    total: int
    chunk: int = 0
    heads: dict[uuid.UUID, int] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=lambda: [0] * SOURCE_PARTITIONS)
    samples: list[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=list)  # (id, workspace) of some rows

    def __post_init__(self) -> None:
        self.random = random.Random(7)
        self.width = len(columns(self.variant))
        self.workspaces = [uuid.UUID(int=self.random.getrandbits(128)) for _ in range(WORKSPACES)]
        rows = [bytes(_KEYS.size) + self._constant_fields() for _ in range(CHUNK)]
        self.row_bytes = len(rows[0])
        self.buffer = bytearray(_HEADER + b"".join(rows) + struct.pack(">h", -1))

    def _constant_fields(self) -> bytes:
        ids = [os.urandom(16) for _ in range(3)]
        hashes = [os.urandom(32), os.urandom(32)]
        sealed = [os.urandom(min(size, 128)).ljust(size, b"x") for size in preimages(self.variant).values()]
        return b"".join(map(_binary, [*ids, struct.pack(">i", 0), *hashes, *sealed, *TEXTS.values(), None]))

    def next_chunk(self) -> tuple[bytes, int, list[uuid.UUID]]:
        """The next 5,000 rows, their source partition and the workspaces in them."""
        large = self.chunk % 2 == 0
        partition = 0 if large else 1 + (self.chunk // 2) % (SOURCE_PARTITIONS - 1)
        members = self.workspaces[:1] if large else self.workspaces[partition :: SOURCE_PARTITIONS - 1]
        picks = self.random.choices(members, k=CHUNK)
        first = self.chunk // 2 * 2 * CHUNK + (not large)
        for row, workspace in enumerate(picks):
            self._write_keys(row, workspace, partition, first + 2 * row)
        self.chunk += 1
        return bytes(self.buffer), partition, sorted(set(picks))

    def _write_keys(self, row: int, workspace: uuid.UUID, partition: int, position: int) -> None:
        seq = self.heads[workspace] = self.heads.get(workspace, 0) + 1
        received = FIRST_DAY * DAY_MICROS + SPAN_MICROS * position // self.total
        late = DAY_MICROS if position % 20 == 0 else 5_000_000  # one in twenty arrives up to a day late
        occurred = received - int(self.random.random() * late)
        high = (received + EPOCH_2000) // 1000 << 16 | 0x7000 | seq & 0xFFF
        low = 1 << 63 | self.random.getrandbits(62)
        if position % 997 == 0:
            self.samples.append((uuid.UUID(int=high << 64 | low), workspace))
        _KEYS.pack_into(
            self.buffer, len(_HEADER) + row * self.row_bytes,
            self.width, 8, seq, 8, self.offsets[partition], 8, occurred, 8, received, 16, high, low, 16, workspace.bytes,
            4, partition, 4, received // DAY_MICROS,
        )  # fmt: skip
        self.offsets[partition] += 1


def _binary(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
