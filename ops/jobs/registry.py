"""All jobs there are. A new one is a module with ``run`` and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ops.jobs import cold, expiry, marking, purge, sending, verification
from ops.jobs.restore import checker, expiration, initiator
from ops.jobs.work import Run
from ops.schedule import Schedule
from ops.settings import Settings


class Job(NamedTuple):
    """What is run, and when by default (cron, UTC)."""

    schedule: str
    run: Run


# In the order of an event's way out; each of a day has an hour before the next one looks at what it did.
JOBS: Final[Mapping[str, Job]] = MappingProxyType(
    {
        "retention-marking": Job("10 1 * * *", marking.run),
        "archival": Job("10 2 * * *", sending.run),
        "archive-verification": Job("10 3 * * *", verification.run),
        "purge": Job("10 4 * * *", purge.run),
        "archive-expiry": Job("10 6 * * *", expiry.run),
        "cold-archive-marker": Job("10 7 * * 0", cold.run),
        "restore-initiator": Job("*/5 * * * *", initiator.run),
        "restore-status-checker": Job("*/15 * * * *", checker.run),
        "restore-expiration": Job("10 8 * * *", expiration.run),
    }
)


def schedules(settings: Settings, jobs: Mapping[str, Job]) -> dict[str, Schedule]:
    """When each job is run: as JOB_SCHEDULES says, else by default. Raises ``ValueError`` for a job that there is none of."""
    if unknown := settings.job_schedules.keys() - jobs.keys():
        raise ValueError(f"JOB_SCHEDULES names no job: {', '.join(sorted(unknown))}; there are {', '.join(jobs)}")
    return {name: Schedule.parse(settings.job_schedules.get(name, job.schedule)) for name, job in jobs.items()}
