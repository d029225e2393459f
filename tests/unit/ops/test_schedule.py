"""When jobs are due, and the setting that says so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from ops.jobs.registry import JOBS, schedules
from ops.schedule import Schedule
from ops.settings import Settings
from schemas.event import to_micros

_SECRETS = ("api_key_secret", "internal_token", "cursor_secret", "idempotency_secret", "webhook_secret_encryption_key", "archive_key")


def _settings(job_schedules: str) -> Settings:
    return Settings.model_validate(dict.fromkeys(_SECRETS, "0a1b2c3d4e5f6071" * 4) | {"job_schedules": job_schedules})


def _micros(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        ("10 3 * * *", "2026-01-31T03:09:59", "2026-01-31T03:10:00"),
        ("10 3 * * *", "2026-01-31T03:10:00", "2026-02-01T03:10:00"),
        ("0 6 * * SUN", "2026-01-31T00:00:00", "2026-02-01T06:00:00"),
        ("*/5 * * * *", "2026-01-31T23:55:00.000001", "2026-02-01T00:00:00"),
    ],
)
def test_the_next_time_is_behind_that_one(expression: str, now: str, expected: str) -> None:
    assert Schedule.parse(expression).next_after(_micros(now)) == _micros(expected)


@pytest.mark.parametrize("expression", ["", "daily", "61 * * * *", "* * *", "0 0 31 2 *"])
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|never comes"):
        Schedule.parse(expression)


def test_every_job_has_a_schedule_that_comes() -> None:
    for job in JOBS.values():
        assert Schedule.parse(job.schedule).expression == job.schedule


def test_a_schedule_can_be_another_one_by_setting() -> None:
    changed = _settings("archive-verification=0 1 * * *")
    assert schedules(changed, JOBS)["archive-verification"] == Schedule("0 1 * * *")
    with pytest.raises(ValueError, match="JOB_SCHEDULES names no job: purgatory"):
        schedules(_settings("purgatory=0 1 * * *"), JOBS)


def test_the_setting_is_a_list_of_names_and_expressions() -> None:
    told = _settings("purge=0  4 * * *; archival = */5 * * * *;").job_schedules
    assert told == {"purge": "0 4 * * *", "archival": "*/5 * * * *"}
    with pytest.raises(ValidationError):
        _settings("purge=sometimes")
