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


class SystemClock:
    """The machine's clocks."""

    def micros(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since some fixed moment; for deadlines and durations."""
        return time.monotonic()
