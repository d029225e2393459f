"""The auditor after purging: what is left of a chain passes, and a floor or a range that does not fit it is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.auditing import DAY, LENGTH, Case, Database, audited
from tests.support.chains import BASE_TIME
from tests.support.stack import LocalStack


@pytest.fixture
async def case(servers: LocalStack, superuser: Database) -> AsyncIterator[Case]:
    async with audited(servers, superuser) as opened:
        yield opened


@pytest.mark.parametrize(
    ("ends", "purged"),
    [((3, 6), 0), ((3,), 3), ((3, 5), 3), ((3, 5), 4), ((3, 5), 5), ((5,), 1), ((1, 2, 3), 2)],
    ids=["marked", "purged", "one of two", "in the midst of one", "both", "at its first", "ranges of one event"],
)
async def test_what_purging_left_of_a_chain_passes(case: Case, ends: tuple[int, ...], purged: int) -> None:
    await case.mark(*ends, purged=purged)
    found, report = await case.audit()
    assert (found, report.events, report.workspaces) == ([], LENGTH - purged + 3, 2)


async def test_a_chain_that_was_purged_wholly_passes_and_is_counted(case: Case) -> None:
    await case.mark(3, 6, purged=6)
    found, report = await case.audit()
    assert (found, report.events, report.workspaces) == ([], 3, 2)
    found, report = await case.audit(case.chain.workspace_id)
    assert (found, report.events, report.workspaces) == ([], 0, 1), "or the command would say that there is no such chain"


async def test_one_purged_workspace_is_walked_alone(case: Case) -> None:
    await case.mark(3, purged=3)
    found, report = await case.audit(case.chain.workspace_id)
    assert (found, report.events, report.workspaces) == ([], 3, 1)


@pytest.mark.parametrize(
    ("change", "seq", "field"),
    [
        ("UPDATE chain_floor SET seq = 4", 4, "seq"),
        ("UPDATE chain_floor SET seq = 2", 4, "seq"),
        ("UPDATE chain_floor SET hash = sha256('x')", 4, "prevHash"),
        ("UPDATE chain_floor SET hash = sha256('x')", 3, "floor"),
        ("UPDATE chain_floor SET seq = 2", 3, "floor"),
        ("UPDATE chain_floor SET seq = 5", 5, "floor"),
        ("UPDATE chain_floor SET company_id = uuidv7()", 3, "floor.company_id"),
        ("UPDATE chain_floor SET archive_day = archive_day + 1", 4, "archive_day"),
        ("DELETE FROM chain_floor", 4, "seq"),
        ("DELETE FROM chain_floor", 3, "floor"),
        ("DELETE FROM events WHERE workspace_id = $ws AND seq = 4", 5, "seq"),
        ("DELETE FROM events WHERE workspace_id = $ws", 4, "seq"),
        ("UPDATE events SET action = 'x' WHERE workspace_id = $ws AND seq = 4", 4, "hash"),
        ("DELETE FROM archive_range", 3, "floor"),
        ("UPDATE archive_range SET purged_at = NULL WHERE from_seq = 1", 3, "floor"),
        ("UPDATE archive_range SET purged_at = NULL, purging_at = NULL WHERE from_seq = 1", 3, "floor"),
        ("UPDATE archive_range SET tiled_at = now(), purging_at = now(), purged_at = now() WHERE from_seq = 4", 5, "floor"),
        ("UPDATE archive_range SET last_hash = sha256('x') WHERE from_seq = 1", 3, "floor"),
        ("UPDATE archive_range SET first_prev_hash = sha256('x') WHERE from_seq = 1", 1, "archive_range"),
        ("UPDATE archive_range SET first_prev_hash = sha256('x') WHERE from_seq = 4", 4, "archive_range"),
        ("UPDATE archive_range SET first_hash = sha256('x') WHERE from_seq = 4", 4, "archive_range"),
        ("UPDATE archive_range SET last_hash = sha256('x') WHERE from_seq = 4", 5, "archive_range"),
        ("UPDATE archive_range SET archive_day = archive_day - 1 WHERE from_seq = 4", 4, "archive_range"),
        ("UPDATE archive_range SET from_seq = 5 WHERE from_seq = 4", 5, "archive_range"),
        ("UPDATE archive_range SET to_seq = 2 WHERE from_seq = 1", 4, "archive_range"),
        ("DELETE FROM archive_range WHERE from_seq = 1", 4, "archive_range"),
    ],
)
async def test_whatever_is_changed_around_a_floor_is_named(case: Case, change: str, seq: int, field: str) -> None:
    """A range up to 3 that was purged, one up to 5 that is still in the table."""
    await case.mark(3, 5, purged=3)
    await case.run(change)
    assert case.at(seq, field)[0] in await case.findings()


async def test_a_range_whose_archive_is_not_verified_must_not_have_been_purged(case: Case) -> None:
    await case.mark(3, purged=3)
    await case.run(
        "WITH part AS (INSERT INTO archive_part (id, company_id, archive_day, part, row_count, archive_until, marked_at) "
        "VALUES (uuidv7(), $1, $2, 1, 3, $3, $3) RETURNING id) UPDATE archive_range SET part_id = part.id FROM part",
        *(case.chain.company_id, DAY, BASE_TIME),
    )
    assert await case.findings() == case.at(1, "archive_range")


@pytest.mark.parametrize(
    ("change", "seq", "field"),
    [
        ("UPDATE chain_head SET seq = 7 WHERE workspace_id = $ws", 7, "seq"),
        ("UPDATE chain_head SET hash = sha256('x') WHERE workspace_id = $ws", 6, "floor"),
        ("UPDATE chain_head SET archive_day = archive_day + 1 WHERE workspace_id = $ws", 6, "floor"),
        ("DELETE FROM chain_head WHERE workspace_id = $ws", 6, "head"),
        ("DELETE FROM chain_floor", 1, "seq"),
    ],
)
async def test_a_chain_that_was_purged_wholly_still_has_to_reach_its_head(case: Case, change: str, seq: int, field: str) -> None:
    await case.mark(6, purged=6)
    await case.run(change)
    assert case.at(seq, field)[0] in await case.findings()


async def test_an_event_that_came_back_below_the_floor_is_found(case: Case) -> None:
    await case.mark(3, purged=3)
    await case.insert(case.events[2])
    assert await case.findings() == case.at(3, "seq")


async def test_floors_of_many_chains_are_found_page_by_page(case: Case) -> None:
    await case.mark(3, purged=3)
    await case.superuser.execute(
        "INSERT INTO chain_floor SELECT workspace_id, company_id, 3, hash, archive_day, now() FROM chain_head WHERE workspace_id <> $1",
        case.chain.workspace_id,
    )
    found = await case.findings()
    assert (case.other.workspace_id, 1, "seq") in found
    assert {workspace for workspace, _, _ in found} == {case.other.workspace_id}
