"""archive-verification on the real stores: what was tampered with is found, named, and leaves the hot rows where they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from ops.archive.parts import Part
from ops.jobs import verification
from ops.jobs.work import JobFailed, Work
from ops.objects import ObjectStore, StoreUnavailable, client
from schemas.event import StoredEvent
from tests.support.archiving import Archive, Superuser, archive_of, mark
from tests.support.chains import Chain, store
from tests.support.stack import LocalStack
from tests.support.working import working


@pytest.fixture
async def archive(servers: LocalStack, superuser: Superuser) -> AsyncIterator[Archive]:
    """With nothing in it that other tests left behind."""
    await superuser.execute("UPDATE archive_part SET verified_at = archived_at WHERE archived_at IS NOT NULL")
    async with archive_of(servers, superuser) as archive:
        yield archive
    await superuser.execute("UPDATE archive_part SET verified_at = archived_at WHERE archived_at IS NOT NULL")


@pytest.fixture
async def work(servers: LocalStack) -> AsyncIterator[Work]:
    async with working(servers) as work:
        yield work


@dataclass(frozen=True)
class Archived:
    """A part that stands in the store."""

    part: Part
    events: list[StoredEvent]

    async def standing(self, superuser: Superuser) -> tuple[bool, str | None]:
        """Whether it is verified, and why not."""
        row = await superuser.fetchrow("SELECT verified_at, verification_error FROM archive_part WHERE id = $1", UUID(self.part.id))
        assert row is not None
        return row[0] is not None, row[1]


@pytest.fixture
async def archived(servers: LocalStack, superuser: Superuser, archive: Archive) -> Archived:
    tenant = servers.tenant(workspaces=2)
    events = []
    for workspace in tenant.workspaces:
        chain = Chain(str(tenant.id), str(workspace.id))
        several = chain.events(30)
        await store(superuser, chain, several)
        events += several
    part_id = await mark(superuser, events)
    await archive.writer().archive(part_id)
    return Archived(await archive.part(part_id), sorted(events, key=lambda event: (event.workspace_id, event.seq)))


async def test_what_was_written_is_verified_once(work: Work, superuser: Superuser, archived: Archived) -> None:
    assert await verification.run(work) == {"parts": 1, "events": 60, "failed": 0}
    assert await archived.standing(superuser) == (True, None)
    assert await verification.run(work) == {"parts": 0, "events": 0, "failed": 0}
    assert work.metrics.registry.get_sample_value("hyrelog_archive_verified_events_total", {"region": "US"}) == 60


def _flip(objects: ObjectStore, key: str) -> None:
    body = bytearray(objects.get(key))
    body[len(body) // 2] ^= 1
    _replace(objects, key, bytes(body))


def _replace(objects: ObjectStore, key: str, body: bytes) -> None:
    assert objects.delete(key)
    objects.put_new(key, body)


def _remove(objects: ObjectStore, key: str) -> None:
    assert objects.delete(key)


@pytest.mark.parametrize("tamper", [_flip, _remove, lambda objects, key: _replace(objects, key, b"something else")])
@pytest.mark.parametrize("of_salts", [False, True])
async def test_a_tampered_object_is_named_and_the_events_stay(
    work: Work, superuser: Superuser, archived: Archived, tamper: Callable[[ObjectStore, str], None], of_salts: bool
) -> None:
    key = archived.part.keys_key if of_salts else archived.part.key
    whole = work.objects.get(key)
    tamper(work.objects, key)
    with pytest.raises(JobFailed, match="1 archived parts"):
        await verification.run(work)
    is_verified, error = await archived.standing(superuser)
    assert not is_verified
    assert error is not None
    assert error.startswith((archived.part.key, key))
    assert await superuser.fetchval("SELECT count(*) FROM events WHERE company_id = $1", UUID(archived.part.company_id)) == 60
    _mend(work.objects, key, whole)
    assert (await verification.run(work))["parts"] == 1
    assert await archived.standing(superuser) == (True, None)


def _mend(objects: ObjectStore, key: str, whole: bytes) -> None:
    objects.delete(key)
    objects.put_new(key, whole)


async def test_one_bad_part_keeps_no_other_from_being_verified(
    work: Work, servers: LocalStack, superuser: Superuser, archive: Archive, archived: Archived
) -> None:
    _flip(work.objects, archived.part.key)
    tenant = servers.tenant()
    chain = Chain(str(tenant.id), str(tenant.workspaces[0].id))
    events = chain.events(5)
    await store(superuser, chain, events)
    other = await mark(superuser, events)
    await archive.writer().archive(other)
    with pytest.raises(JobFailed) as failed:
        await verification.run(work)
    assert failed.value.counts == {"parts": 1, "events": 5, "failed": 1}
    assert await superuser.fetchval("SELECT verified_at FROM archive_part WHERE id = $1", UUID(other)) is not None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE archive_range SET last_hash = sha256('') WHERE workspace_id = $1",
        "UPDATE archive_range SET first_prev_hash = sha256('') WHERE workspace_id = $1",
        "UPDATE chain_head SET hash = sha256('') WHERE workspace_id = $1",
        "UPDATE chain_head SET seq = seq + 1 WHERE workspace_id = $1",
    ],
)
async def test_what_does_not_join_its_neighbours_is_not_verified(work: Work, superuser: Superuser, archived: Archived, change: str) -> None:
    """The ranges say what was marked, the chain behind them what it went on from."""
    await superuser.execute(change, UUID(archived.events[0].workspace_id))
    with pytest.raises(JobFailed):
        await verification.run(work)
    is_verified, error = await archived.standing(superuser)
    assert not is_verified
    assert archived.events[0].workspace_id in (error or "")


async def test_a_store_that_is_away_is_no_error_of_the_part(servers: LocalStack, superuser: Superuser, archived: Archived) -> None:
    class Away(ObjectStore):
        def stream(self, key: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
            raise StoreUnavailable(key)

    async with working(servers) as work:
        away = Away(client(work.settings), work.settings.bucket(work.region))
    async with working(servers, objects=away) as work:
        with pytest.raises(StoreUnavailable):
            await verification.run(work)
    assert await archived.standing(superuser) == (False, None)
