"""How long what is kept (contract §3): by the plan under which an event was received, whatever plan its company has now."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

DAY_MICROS: Final = 86_400_000_000
AUDIT_DAYS: Final = 365
"""Least retention of AUDIT workspaces on any plan (contract §8)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Days counted from an event's receipt. ``archive_days`` is ``None`` without an archive, ``cold_after_days`` where it never goes cold.

    ``cold_after_days`` is the age of the archive's object, as S3 counts it.
    """

    hot_days: int
    archive_days: int | None
    cold_after_days: int | None

    def of_audit(self) -> Terms:
        """The same for an AUDIT workspace."""
        if self.archive_days is None:
            return replace(self, hot_days=max(self.hot_days, AUDIT_DAYS))
        return replace(self, archive_days=max(self.archive_days, AUDIT_DAYS))

    def hot_until(self, received_at: int) -> int:
        """When the hot retention of an event is over, in microseconds."""
        return received_at + self.hot_days * DAY_MICROS

    def archive_until(self, received_at: int) -> int | None:
        """When its archive may go; never before the event has left the hot table by right."""
        return None if self.archive_days is None else received_at + max(self.archive_days, self.hot_days) * DAY_MICROS


class History:
    """Which terms a company had when."""

    def __init__(self, periods: Sequence[tuple[int, Terms]]) -> None:
        """Pairs of a period's first microsecond and its terms, in order; each holds until the next one. Raises ``ValueError`` for none."""
        if not periods:
            raise ValueError("a company has terms from its first moment")
        self.periods = tuple(periods)
        self._starts = [start for start, _ in periods]

    def at(self, received_at: int) -> Terms:
        """The terms an event was received under. What came before the first period, by clocks that disagree, is of that one."""
        return self.periods[max(0, bisect_right(self._starts, received_at) - 1)][1]

    def changes_within(self, start: int, end: int) -> bool:
        """Whether not all of that time (microseconds, end exclusive) is under the same terms."""
        return self.at(start) != self.at(end - 1) or any(start < each < end for each in self._starts[1:])

    def archived_since(self, now: int) -> int | None:
        """The earliest receipt that may still be in an archive; ``None`` when no plan ever had one."""
        ends = [*self._starts[1:], now + 1]
        earliest = [
            max(start, now - terms.archive_days * DAY_MICROS)
            for (start, terms), end in zip(self.periods, ends, strict=True)
            if terms.archive_days is not None and max(start, now - terms.archive_days * DAY_MICROS) < end
        ]
        return min(earliest, default=None)
