"""Counting the rows of a file that is not taken apart."""

from __future__ import annotations

from pathlib import Path

_LINES, _CSV = "JSONL", "CSV"


class RowCounter:
    """Rows by their line ends: all of JSONL's, of a CSV's those outside of quotes but the header's. Parquet has no such rows."""

    def __init__(self, format: str) -> None:
        """``format`` as exports name it: JSONL, CSV or PARQUET."""
        self._format = format
        self._ends = 0
        self._quotes = 0

    def add(self, piece: bytes) -> None:
        """The next bytes, however they are cut."""
        if self._format == _LINES:
            self._ends += piece.count(b"\n")
        elif self._format == _CSV:
            parts = piece.split(b'"')  # every other one is outside of quotes
            self._ends += sum(part.count(b"\n") for part in parts[self._quotes % 2 :: 2])
            self._quotes += len(parts) - 1

    @property
    def rows(self) -> int | None:
        """``None`` when they can't be counted so."""
        if self._format == _LINES:
            return self._ends
        return max(0, self._ends - 1) if self._format == _CSV else None


def parquet_rows(path: Path) -> int:
    """How many rows the file says it has. Raises ``ValueError`` when it is no Parquet."""
    import pyarrow as pa  # noqa: PLC0415 - 40 MB and half a second that only these files are worth
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    try:
        with ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is no Parquet: {error}") from None
