"""When a job is due: cron expressions, in UTC (``cronsim`` reads them, as Debian's cron does)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cronsim import CronSim, CronSimError

from schemas.event import to_micros

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression: minute, hour, day of the month, month, day of the week; a sixth field in front is of seconds."""

    expression: str

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Raises ``ValueError`` for what is no cron expression, or never comes."""
        schedule = cls(" ".join(expression.split()))
        schedule.next_after(0)
        return schedule

    def next_after(self, micros: int) -> int:
        """The first time behind that one, both in microseconds. Raises ``ValueError``."""
        try:
            return to_micros(next(CronSim(self.expression, _EPOCH + timedelta(microseconds=micros))))
        except CronSimError as error:
            raise ValueError(f"{self.expression!r} is no cron expression: {error}") from None
        except StopIteration:
            raise ValueError(f"{self.expression!r} never comes") from None
