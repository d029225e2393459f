"""Which errors are tried again, which are about an event, and which stop the partition."""

import asyncpg
import pytest

from streams.store import Verdict, judge


def violation(constraint: str) -> asyncpg.UniqueViolationError:
    error = asyncpg.UniqueViolationError("duplicate")
    error.constraint_name = constraint
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (asyncpg.ConnectionDoesNotExistError(), Verdict.RETRY),
        (asyncpg.DeadlockDetectedError(), Verdict.RETRY),
        (asyncpg.TooManyConnectionsError(), Verdict.RETRY),
        (asyncpg.DiskFullError(), Verdict.RETRY),
        (asyncpg.LockNotAvailableError(), Verdict.RETRY),
        (asyncpg.IdleInTransactionSessionTimeoutError(), Verdict.RETRY),
        (asyncpg.QueryCanceledError(), Verdict.RETRY),
        (asyncpg.AdminShutdownError(), Verdict.RETRY),
        (asyncpg.PostgresIOError(), Verdict.RETRY),
        (asyncpg.UndefinedTableError(), Verdict.RETRY),
        (asyncpg.InsufficientPrivilegeError(), Verdict.RETRY),
        (asyncpg.InterfaceError("connection is closed"), Verdict.RETRY),
        (ConnectionRefusedError(), Verdict.RETRY),
        (TimeoutError(), Verdict.RETRY),
        (asyncpg.UntranslatableCharacterError(), Verdict.BAD_DATA),
        (asyncpg.CharacterNotInRepertoireError(), Verdict.BAD_DATA),
        (asyncpg.CheckViolationError(), Verdict.BAD_DATA),
        (asyncpg.ProgramLimitExceededError(), Verdict.BAD_DATA),
        (violation("events_id"), Verdict.BAD_DATA),
        (ValueError("invalid UUID"), Verdict.BAD_DATA),
        (OverflowError(), Verdict.BAD_DATA),
        (violation("events_pkey"), Verdict.CONTRADICTION),
        (violation("events_source"), Verdict.CONTRADICTION),
        (violation("rejected_pkey"), Verdict.CONTRADICTION),
    ],
)
def test_errors_are_judged_by_what_they_are_about(error: Exception, verdict: Verdict) -> None:
    """What is unknown is tried again: an outage must not reject an event, a bad event must not stop a partition."""
    assert judge(error) is verdict
