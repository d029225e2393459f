"""An export's formats: from events to bytes, a batch at a time."""

from __future__ import annotations

from typing import Protocol

from api.exports import lines
from api.exports.rows import Wish
from api.exports.source import Batch
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
        of_rows = lines.of_rows(batch.rows, self._region, verification=self._verification)
        return of_rows + lines.of_events(batch.events, verification=self._verification)

    def end(self) -> bytes:
        """Nothing."""
        return b""


def encoder(wish: Wish, region: Region) -> Encoder:
    """Of the format that is asked for."""
    return Jsonl(region, verification=wish.verification)
