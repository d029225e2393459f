"""An export's formats: from events to bytes, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from api.exports import lines, table
from api.exports.rows import Wish
from api.exports.source import Batch
from ops.rows import to_stored
from schemas.event import StoredEvent
from schemas.topics import Region


class Encoder(Protocol):
    """Writes one file. To be used in threads, one call at a time."""

    def begin(self) -> bytes:
        """What comes in front of the first event."""
        ...

    def encode(self, batch: Batch) -> bytes:
        """What can be written by now."""
        ...

    def end(self) -> bytes:
        """What comes behind the last event."""
        ...


class Jsonl:
    """A line an event, as everywhere."""

    def __init__(self, region: Region, *, verification: bool) -> None:
        self._region = region
        self._verification = verification

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, batch: Batch) -> bytes:
        """The batch's lines."""
        if batch.rows:
            return lines.of_rows(batch.rows, self._region, verification=self._verification)
        return lines.of_events(batch.events, verification=self._verification)

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Csv:
    """A header, and a line an event."""

    def __init__(self, region: Region, *, raw: bool) -> None:
        self._region = region
        self._raw = raw

    def begin(self) -> bytes:
        """The header."""
        return table.HEADER

    def encode(self, batch: Batch) -> bytes:
        """The batch's lines."""
        return table.of_events(_events(batch, self._region), raw=self._raw)

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Parquet:
    """Row groups, and at the end where they are."""

    def __init__(self, region: Region, group_rows: int = 10_000) -> None:
        self._region = region
        self._file: ParquetWriter = import_module("api.exports.parquet").ParquetFile(group_rows)

    def begin(self) -> bytes:
        """The magic number."""
        return self._file.add(())

    def encode(self, batch: Batch) -> bytes:
        """The row groups that are full by now."""
        return self._file.add(_events(batch, self._region))

    def end(self) -> bytes:
        """The last row group and the footer."""
        return self._file.end()


class ParquetWriter(Protocol):
    """What ``api.exports.parquet`` does, which is imported when it is needed."""

    def add(self, events: Sequence[StoredEvent]) -> bytes:
        """What of the file is written by now."""
        ...

    def end(self) -> bytes:
        """The rest."""
        ...


def encoder(wish: Wish, region: Region) -> Encoder:
    """Of the format that is asked for."""
    if wish.format == "CSV":
        return Csv(region, raw=wish.csv_raw)
    if wish.format == "PARQUET":
        return Parquet(region)
    return Jsonl(region, verification=wish.verification)


def _events(batch: Batch, region: Region) -> Sequence[StoredEvent]:
    return [to_stored(row, region) for row in batch.rows] if batch.rows else batch.events
