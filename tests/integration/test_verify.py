"""The auditor: whole chains pass, and whatever a superuser does to one is named by workspace, seq and field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest

from schemas.leaf import leaf_hash, leaf_of
from schemas.topics import Region
from tests.support.auditing import LENGTH, Case, Database, audited
from tests.support.chains import BASE_TIME, SECOND, Chain, store
from tests.support.stack import LocalStack


@pytest.fixture
async def case(servers: LocalStack, superuser: Database) -> AsyncIterator[Case]:
    async with audited(servers, superuser) as opened:
        yield opened


async def test_whole_chains_pass(case: Case) -> None:
    found, report = await case.audit()
    assert (found, report.events, report.workspaces) == ([], LENGTH + 3, 2)


async def test_events_of_every_shape_pass(case: Case) -> None:
    """The auditor writes leaves by itself: this is where it must agree with the published layout."""
    shapes = [
        case.chain.event(actor=None, resource=None, metadata=None, outcome=None),
        case.chain.event(actor=b"{}", resource=b'{"name":"x"}', context=b'{"ipAddress":"::1"}', metadata=b"{}"),
        case.chain.event(tenant_id='\u00e4"\\\n\U0001f600\u2028\x7f\x01', project_id=str(UUID(int=3)), outcome="DENIED"),
        case.chain.event(actor='{"email":null,"id":"\u00fc","name":"\U0001f600"}'.encode(), at=-62_135_596_800_000_000),
        case.chain.event(at=253_402_300_799_999_999),
    ]
    await store(case.superuser, case.chain, shapes)
    assert await case.findings() == []


async def test_one_workspace_is_walked_alone(case: Case) -> None:
    await case.run("UPDATE events SET action = 'x' WHERE workspace_id = $ws AND seq = 2")
    assert (await case.audit(case.other.workspace_id))[0] == []
    assert (await case.audit(case.chain.workspace_id))[0] == case.at(2, "hash")


async def test_a_chain_longer_than_many_pages_passes(case: Case) -> None:
    await store(case.superuser, case.chain, case.chain.events(1000))
    found, report = await case.audit()
    assert (found, report.events) == ([], LENGTH + 1003)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("occurred_at = occurred_at + interval '1 microsecond'", "hash"),
        ("received_at = received_at + interval '1 microsecond'", "hash"),
        ("occurred_at = 'infinity'", "row"),
        ("id = uuidv7()", "hash"),
        ("company_id = uuidv7()", "hash"),
        ("project_id = uuidv7()", "hash"),
        ("trace_id = uuidv7()", "hash"),
        ("category = 'other'", "hash"),
        ("action = 'user.logout'", "hash"),
        ("outcome = 'FAILURE'", "hash"),
        ("outcome = NULL", "hash"),
        ("tenant_id = 'ä'", "hash"),
        ("prev_hash = sha256('x')", "prevHash"),
        ("hash = sha256('x')", "hash"),
        ("commitments = set_byte(commitments, 0, 255 - get_byte(commitments, 0))", "actor"),
        ("commitments = overlay(commitments placing sha256('x') from 65)", "hash"),
        ("commitments = commitments || '\\x00'::bytea", "metadata"),
        ("commitments = ''", "actor"),
        ("actor = set_byte(actor, 0, 255 - get_byte(actor, 0))", "actor"),
        ("actor = convert_to('0123456789abcdef{\"id\":\"u-2\"}', 'UTF8')", "actor"),
        ("resource = resource || ' '::bytea", "resource"),
        ("metadata = ''", "metadata"),
        ("metadata = NULL", "metadata"),
        ("context = metadata", "context"),
        ("actor_id = 'u-2'", "actor_id"),
        ("actor_id = NULL", "actor_id"),
        ("actor_email = 'eve@test'", "actor_email"),
        ("resource_type = 'window'", "resource_type"),
        ("resource_id = ''", "resource_id"),
        ("archive_day = archive_day + 1", "archive_day"),
        ("archive_day = archive_day - 1", "archive_day"),
        ("source_partition = 7", "source_partition"),
        ("source_offset = 0", "source_offset"),
        ("erased_at = now()", "erased_at"),
    ],
)
async def test_any_column_that_is_changed_is_named(case: Case, change: str, field: str) -> None:
    await case.run(f"UPDATE events SET {change} WHERE workspace_id = $ws AND seq = 4")
    assert await case.findings() == case.at(4, field)


async def test_an_erased_group_passes_with_its_commitment(case: Case) -> None:
    await case.run(
        "UPDATE events SET actor = NULL, actor_id = NULL, actor_email = NULL, erased_at = now() WHERE workspace_id = $ws AND seq = 4"
    )
    assert await case.findings() == []


async def test_what_was_copied_out_of_an_erased_group_must_be_gone_too(case: Case) -> None:
    await case.run("UPDATE events SET actor = NULL, erased_at = now() WHERE workspace_id = $ws AND seq = 4")
    assert await case.findings() == case.at(4, "actor_id")


async def test_a_deleted_event_is_missed_at_its_place(case: Case) -> None:
    await case.run("DELETE FROM events WHERE workspace_id = $ws AND seq = 4")
    assert await case.findings() == case.at(5, "seq")


async def test_the_first_event_is_missed_too(case: Case) -> None:
    await case.run("DELETE FROM events WHERE workspace_id = $ws AND seq = 1")
    assert await case.findings() == case.at(2, "seq")


async def test_a_deleted_event_is_missed_even_when_the_others_are_renumbered(case: Case) -> None:
    await case.run("DELETE FROM events WHERE workspace_id = $ws AND seq = 4")
    await case.run("UPDATE events SET seq = seq - 1 WHERE workspace_id = $ws AND seq > 4")
    await case.run("UPDATE chain_head SET seq = seq - 1 WHERE workspace_id = $ws")
    assert await case.findings() == case.at(4, "prevHash")


async def test_two_swapped_events_are_found(case: Case) -> None:
    for before, after in ((3, 103), (4, 3), (103, 4)):
        await case.run("UPDATE events SET seq = $2 WHERE workspace_id = $ws AND seq = $1", before, after)
    assert await case.findings() == case.at(3, "prevHash")


async def test_two_groups_swapped_between_events_are_found(case: Case) -> None:
    await case.run(
        "UPDATE events a SET metadata = b.metadata FROM events b "
        "WHERE a.workspace_id = $ws AND b.workspace_id = $ws AND (a.seq, b.seq) IN ((2, 3), (3, 2))"
    )
    assert await case.findings() == case.at(2, "metadata")


async def test_an_inserted_event_is_found(case: Case) -> None:
    """Squeezed in with a right hash of its own: the next one does not follow."""
    third = case.events[2]
    forged = replace(third, id=str(UUID(int=7)), seq=4, prev_hash=third.hash, source_index=1)
    forged = replace(forged, hash=leaf_hash(leaf_of(forged)))
    for seq in range(LENGTH, 3, -1):
        await case.run("UPDATE events SET seq = $2 WHERE workspace_id = $ws AND seq = $1", seq, seq + 1)
    await case.run("UPDATE chain_head SET seq = seq + 1 WHERE workspace_id = $ws")
    await case.insert(forged)
    assert await case.findings() == case.at(5, "prevHash")


async def test_an_event_appended_behind_the_head_is_found(case: Case) -> None:
    await case.insert(case.chain.event())
    assert await case.findings() == case.at(LENGTH + 1, "seq")


async def test_an_event_before_the_first_is_found(case: Case) -> None:
    await case.insert(replace(case.events[0], id=str(UUID(int=8)), seq=0, source_index=9))
    assert await case.findings() == case.at(0, "seq")


async def test_a_cut_tail_is_missed(case: Case) -> None:
    await case.run("DELETE FROM events WHERE workspace_id = $ws AND seq > 4")
    assert await case.findings() == case.at(5, "seq")


async def test_a_chain_that_vanished_wholly_is_missed(case: Case) -> None:
    await case.run("DELETE FROM events WHERE workspace_id = $ws")
    assert await case.findings() == case.at(1, "seq")


async def test_every_chain_is_missed_after_a_truncate(case: Case) -> None:
    await case.superuser.execute("TRUNCATE events")
    assert sorted(await case.findings()) == sorted([(case.chain.workspace_id, 1, "seq"), (case.other.workspace_id, 1, "seq")])


@pytest.mark.parametrize(
    ("change", "seq", "field"),
    [
        ("SET seq = 5", LENGTH, "seq"),
        ("SET seq = 7", LENGTH + 1, "seq"),
        ("SET hash = sha256('x')", LENGTH, "hash"),
        ("SET company_id = uuidv7()", LENGTH, "head.company_id"),
        ("SET archive_day = archive_day + 1", LENGTH, "head.archive_day"),
    ],
)
async def test_a_changed_head_is_found(case: Case, change: str, seq: int, field: str) -> None:
    await case.run(f"UPDATE chain_head {change} WHERE workspace_id = $ws")
    assert await case.findings() == case.at(seq, field)


async def test_a_deleted_head_is_missed(case: Case) -> None:
    await case.run("DELETE FROM chain_head WHERE workspace_id = $ws")
    assert await case.findings() == case.at(LENGTH, "head")


async def test_a_forged_chain_to_the_end_is_found_by_the_head(case: Case) -> None:
    """Everything after a changed event rehashed: only the head, if it was kept or noted down, tells."""
    forged = Chain(case.chain.company_id, case.chain.workspace_id)
    events = [forged.event(action="forged") for _ in range(LENGTH)]
    await case.run("DELETE FROM events WHERE workspace_id = $ws")
    await case.insert(*events)
    assert await case.findings() == case.at(LENGTH, "hash")


async def test_the_first_bad_event_of_every_broken_chain_is_named(case: Case) -> None:
    await case.superuser.execute("UPDATE events SET action = 'x' WHERE seq >= 2")
    assert sorted(await case.findings()) == sorted([(case.chain.workspace_id, 2, "hash"), (case.other.workspace_id, 2, "hash")])


async def test_an_event_beyond_what_the_worker_has_read_is_found(case: Case) -> None:
    await case.superuser.execute("INSERT INTO source (topic, partition, topic_id, next_offset) VALUES ('t', 0, uuidv7(), 0)")
    assert {field for _, _, field in await case.findings()} == {"source_offset"}


async def test_another_regions_chain_does_not_pass(case: Case) -> None:
    """``dataRegion`` is on the chain."""
    moved = Chain(case.chain.company_id, str(UUID(int=9)), region=Region.EU)
    await store(case.superuser, moved, moved.events(1))
    assert await case.findings() == [(moved.workspace_id, 1, "hash")]


async def test_an_archive_day_never_falls_along_the_chain(case: Case) -> None:
    """Two workers' clocks may differ: the later event of the earlier day stays on the later one."""
    chain = Chain(case.chain.company_id, str(UUID(int=10)))
    late, early = chain.event(), chain.event()
    early = replace(early, received_at=BASE_TIME - SECOND)
    early = replace(early, hash=leaf_hash(leaf_of(early)))
    chain.head = chain.head._replace(hash=early.hash)
    await store(case.superuser, chain, [late, early])
    assert await case.findings() == [(chain.workspace_id, 2, "archive_day")]
    await case.superuser.execute("UPDATE events SET archive_day = '2026-01-01' WHERE workspace_id = $1", chain.workspace_id)
    assert await case.findings() == []
