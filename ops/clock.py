"""The only place that asks what time it is; everything else is handed a ``Clock``."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that people read, and one that never goes back."""

    def micros(self) -> int:
        """Microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; for deadlines and durations."""
        ...


class MovedClock:
    """Another clock, moved by so many microseconds."""

    def __init__(self, clock: Clock, micros: int) -> None:
        self._clock = clock
        self._micros = micros

    def micros(self) -> int:
        """Microseconds since 1970 UTC, moved."""
        return self._clock.micros() + self._micros

    def monotonic(self) -> float:
        """Seconds since some fixed moment, as ever."""
        return self._clock.monotonic()


class SystemClock:
    """The machine's clocks."""

    def micros(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some fixed moment; for deadlines and durations."""
        return time.monotonic()
