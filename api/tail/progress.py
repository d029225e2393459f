"""How far one reader, or all readers of a channel, have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.tail.position import Audience, Place, Position, Positions
from schemas.event import StoredEvent


@dataclass(slots=True)
class Progress:
    """``seqs`` are the last ones seen, by workspace; ``places`` by partition, ``time`` as in ``Position``."""

    audience: Audience
    time: int = 0
    seqs: dict[str, int] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)

    def seen(self, event: StoredEvent, partition: int) -> None:
        """Go on to behind an event."""
        self.move(event.workspace_id, event.seq, partition, (event.source_offset, event.source_index), event.received_at)

    def move(self, workspace_id: str, seq: int, partition: int, place: Place, time: int) -> None:
        """Go on to behind the event with that seq and place."""
        self.seqs[workspace_id] = seq
        if place > self.places.get(partition, (-1, 0)):
            self.places[partition] = place
        self.time = max(self.time, time)

    def merge(self, other: Progress) -> None:
        """Go on to where another one is, where that is further."""
        for workspace_id, seq in other.seqs.items():
            if seq > self.seqs.get(workspace_id, 0):
                self.seqs[workspace_id] = seq
        self.start_at(other.places)
        self.time = max(self.time, other.time)

    def start_at(self, places: Mapping[int, Place]) -> None:
        """Go on to places that are known to be behind everything seen."""
        for partition, place in places.items():
            if place > self.places.get(partition, (-1, 0)):
                self.places[partition] = place

    def is_ahead(self, other: Progress) -> bool:
        """Whether something was seen here that was not there."""
        return any(seq > other.seqs.get(workspace_id, 0) for workspace_id, seq in self.seqs.items())

    def is_new(self, event: StoredEvent) -> bool:
        """Whether the event comes behind what was seen of its workspace."""
        return event.seq > self.seqs.get(event.workspace_id, 0)

    def copy(self) -> Progress:
        """The same, to go on by itself."""
        return Progress(self.audience, self.time, self.seqs.copy(), self.places.copy())

    def position(self) -> Position:
        """As a client is told."""
        workspace = self.audience.workspace_id
        return Position(self.time, 0 if workspace is None else self.seqs.get(workspace, 0), self.places)

    def written(self, positions: Positions) -> bytes:
        """The position as text."""
        return positions.write(self.audience, self.position())
