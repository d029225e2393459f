"""Checking what was archived and purged against itself: the ranges of each workspace tile, and the floor is where they say (pure).

A purged event is in no table any more. What is left of it are the hashes at the ends of its range: they carry the chain over to what
is left, and to the archive, where the events themselves are walked (``hyrelog verify FILE``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from uuid import UUID

from ops.db import Row
from schemas.chain import START, Finding

Amiss = tuple[int, str, str]
"""Seq, field, message."""


class RangeWalk:
    """The ranges of one workspace after another, in the order of their seqs."""

    def __init__(self) -> None:
        self._workspace: UUID | None = None
        self._bad = False
        self._to, self._hash = START
        self._day = date.min

    def check(self, rows: Iterable[Row]) -> Iterator[Finding]:
        """The first thing wrong of each workspace."""
        for row in rows:
            if row["workspace_id"] != self._workspace:
                self._workspace, self._bad = row["workspace_id"], False
                (self._to, self._hash), self._day = START, date.min
            found = None if self._bad else next(self._amiss(row), None)
            if found is not None:
                self._bad = True
                yield Finding(str(self._workspace), *found)
            self._to, self._hash, self._day = row["to_seq"], row["last_hash"], row["archive_day"]

    def _amiss(self, row: Row) -> Iterator[Amiss]:
        first = row["from_seq"]
        if first != self._to + 1:
            yield first, "archive_range", f"begins at {first}, the range before it ends at {self._to}"
        if row["first_prev_hash"] != self._hash:
            yield first, "archive_range", f"begins behind {row['first_prev_hash'].hex()}, the range before it ends with {self._hash.hex()}"
        if row["archive_day"] < self._day:
            yield first, "archive_range", f"is of {row['archive_day']}, the range before it of {self._day}"
        yield from _against_floor(row)
        yield from _against_events(row)


def _against_floor(row: Row) -> Iterator[Amiss]:
    """A range is purged as far as the floor says, the floor is at the hash that the range says, and nothing went before it was safe."""
    first, last, floor = row["from_seq"], row["to_seq"], row["floor_seq"] or 0
    if row["is_purged"] and floor < last:
        yield last, "floor", f"is {floor}, though all up to {last} is purged"
    if not row["is_purged"] and floor >= last:
        yield last, "floor", f"is {floor}, though the range up to {last} is not purged"
    if not row["is_purging"] and floor >= first:
        yield first, "floor", f"is {floor}, though the range from {first} is not to be purged"
    if floor == last and row["floor_hash"] != row["last_hash"]:
        yield last, "floor", f"has the hash {row['floor_hash'].hex()}, the range that ends there {row['last_hash'].hex()}"
    if floor == first and row["floor_hash"] != row["first_hash"]:
        yield first, "floor", f"has the hash {row['floor_hash'].hex()}, the range that begins there {row['first_hash'].hex()}"
    if floor >= first and not row["is_safe"]:
        yield first, "archive_range", "was purged, though its archive is not verified"


def _against_events(row: Row) -> Iterator[Amiss]:
    """The hashes of a range are those of the events at its ends, while these are in the table."""
    if row["begin_hash"] is not None and (row["begin_prev_hash"], row["begin_hash"]) != (row["first_prev_hash"], row["first_hash"]):
        yield row["from_seq"], "archive_range", "begins with another event than the chain has there"
    if row["end_hash"] is not None and row["end_hash"] != row["last_hash"]:
        yield row["to_seq"], "archive_range", "ends with another event than the chain has there"
