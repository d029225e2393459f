"""Parquet for analysts: a table of the same columns as the CSV. Imported for such an export alone: pyarrow takes 50 MB, and long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from api.exports.table import COLUMNS
from schemas.event import Group, StoredEvent

_GROUP_BYTES: Final = 8 << 20
"""Of a row group, and up to an event more: it is gathered in memory."""
_TIME: Final = pa.timestamp("us", tz="UTC")
_KINDS: Final[dict[str, Any]] = {"seq": pa.int64(), "timestamp": _TIME, "receivedAt": _TIME, "erasedAt": _TIME}
_SCHEMA: Final = pa.schema([pa.field(name, _KINDS.get(name, pa.string())) for name in COLUMNS])


class _Sink:
    """A file that is written once, from begin to end, and taken away as it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class ParquetFile:
    """One file, by row groups of bounded size, which depend on nothing but the events: whoever goes on with a file meets the same bytes."""

    def __init__(self, group_rows: int) -> None:
        self._group_rows = group_rows
        self._sink = _Sink()
        self._waiting: list[StoredEvent] = []
        self._size = 0
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), _SCHEMA, compression="zstd")

    def add(self, events: Sequence[StoredEvent]) -> bytes:
        """What of the file is written by now."""
        for event in events:
            self._waiting.append(event)
            self._size += _size(event)
            if len(self._waiting) == self._group_rows or self._size >= _GROUP_BYTES:
                self._write()
        return self._sink.take()

    def end(self) -> bytes:
        """The rest, and where all of it is."""
        if self._waiting:
            self._write()
        self._writer.close()
        return self._sink.take()

    def _write(self) -> None:
        columns = [list(column) for column in zip(*map(_row, self._waiting), strict=True)]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), row_group_size=len(self._waiting))
        self._waiting, self._size = [], 0


def _row(event: StoredEvent) -> tuple[object, ...]:
    return (
        event.id,
        event.company_id,
        event.workspace_id,
        event.project_id,
        event.tenant_id,
        event.data_region,
        event.seq,
        event.timestamp,
        event.received_at,
        event.category,
        event.action,
        event.outcome,
        _text(event.actor),
        _text(event.resource),
        _text(event.context),
        _text(event.metadata),
        event.trace_id,
        event.prev_hash.hex(),
        event.hash.hex(),
        event.erased_at,
    )


def _text(group: Group | None) -> str | None:
    return None if group is None or group.value is None else group.value.decode()


def _size(event: StoredEvent) -> int:
    groups = (event.actor, event.resource, event.context, event.metadata)
    return 500 + sum(len(group.sealed) for group in groups if group is not None and group.sealed is not None)
