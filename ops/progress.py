"""How far a reader is behind a log, and whether it moves: told from its position and the log's end, as they are seen again and again."""

from __future__ import annotations

from collections import deque


class Progress:
    """When a partition last moved, and when its log was seen to reach where."""

    def __init__(self) -> None:
        self.moved_at = 0.0
        self.nudged_at = 0.0
        """When the consumer was last sent back to the stored position."""
        self._position = -1
        self._ends: deque[tuple[int, float]] = deque(maxlen=4096)

    def lag(self, end: int, position: int, now: float) -> float:
        """Seconds since the oldest record not yet taken was first seen in the log."""
        if position != self._position or position >= end or not self._ends:  # without ends, there was nothing to do up to now
            self._position, self.moved_at = position, now
        if not self._ends or self._ends[-1][0] < end:
            self._ends.append((end, now))
        while self._ends and self._ends[0][0] <= position:
            self._ends.popleft()
        return now - self._ends[0][1] if self._ends else 0.0

    def stalled(self, end: int, position: int, now: float) -> float:
        """Seconds without progress although there is work."""
        return now - self.moved_at if end > position and self.moved_at else 0.0
