"""What a stored position and the brokers' word of the log tell of a partition: can it go on, how far behind is it, does it move."""

from __future__ import annotations

from collections import deque

from ops.kafka import Bounds, Topic
from streams.store import Source


def contradiction(source: Source, topic: Topic, bounds: Bounds) -> str | None:
    """Why a partition can't go on by itself: what is next is not in the log, or it is another log. ``None`` when all is well."""
    next_offset = source.next_offset - source.offset_base
    if source.topic_id != topic.id:
        return f"TOPIC_RECREATED: the topic is {topic.id}, the stored position is one of {source.topic_id}"
    if bounds.end < next_offset:
        return f"LOG_BEHIND: the log ends at {bounds.end}, the stored position is {next_offset}"
    if bounds.start > next_offset:
        return f"LOG_TRUNCATED: the log starts at {bounds.start}, the stored position is {next_offset}"
    return None


class Progress:
    """When a partition last moved, and when its log was seen to reach where."""

    def __init__(self) -> None:
        self.moved_at = 0.0
        self.nudged_at = 0.0
        """When the consumer was last sent back to the stored position."""
        self._position = -1
        self._ends: deque[tuple[int, float]] = deque(maxlen=4096)

    def lag(self, end: int, position: int, now: float) -> float:
        """Seconds since the oldest record not yet persisted was first seen in the log."""
        if position != self._position or position >= end:
            self._position, self.moved_at = position, now
        if not self._ends or self._ends[-1][0] < end:
            self._ends.append((end, now))
        while self._ends and self._ends[0][0] <= position:
            self._ends.popleft()
        return now - self._ends[0][1] if self._ends else 0.0

    def stalled(self, end: int, position: int, now: float) -> float:
        """Seconds without progress although there is work."""
        return now - self.moved_at if end > position and self.moved_at else 0.0
