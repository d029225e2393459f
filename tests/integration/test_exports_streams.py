"""Downloads as they are cut: by their client, by whoever cancels, by what can't be read. None of them ever looks complete."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.exports import download
from ops.local.environment import Role
from tests.support.archiving import Archive, archive_of
from tests.support.chains import store
from tests.support.exporting import World, lines, world_of
from tests.support.managing import Database, told
from tests.support.serving import served
from tests.support.stack import LocalStack

LARGE = 96
LARGE_BYTES = 100_000
"""So that an export of them all is more than the kernel keeps for a client that does not read."""
LAST_CHUNK = b"\r\n0\r\n\r\n"
SECONDS = 20.0


@pytest.fixture
def api(api_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> httpx.AsyncClient:
    monkeypatch.setattr(download, "BEAT_SECONDS", 0.1)
    return api_client


@pytest.fixture
async def world(servers: LocalStack, superuser: Database, api: httpx.AsyncClient) -> World:
    """With large events in its first workspace."""
    world = await world_of(servers, superuser, api)
    chain = world.chains[0]
    large = [chain.event(metadata=b'{"n":"%b"}' % (b"%d" % number * LARGE_BYTES)) for number in range(LARGE)]
    await store(superuser, chain, large)
    world.events[0] += large
    return world


class Slow:
    """A client of plain HTTP that reads when it wants to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def some(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        """All until the connection ends, however it does."""
        pieces = []
        try:
            while piece := await self._reader.read(1 << 20):
                pieces.append(piece)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def slow(world: World, export: str, version: str = "1.1") -> AsyncIterator[Slow]:
    url = world.api.base_url
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    own.connect((url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=own, limit=1 << 16)
    key = world.key()["Authorization"]
    request = f"GET /v1/exports/{export}/download HTTP/{version}\r\nHost: {url.host}\r\nAuthorization: {key}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    client = Slow(reader, writer)
    try:
        yield client
    finally:
        client.close()


async def until(world: World, export: str, is_so: Callable[[Any], bool]) -> Any:
    """The export once it is so."""
    async with asyncio.timeout(SECONDS):
        while not is_so(job := await world.job(export)):
            await asyncio.sleep(0.02)
    return job


def _ended(job: Any) -> bool:
    return bool(job["status"] not in ("PENDING", "RUNNING"))


async def test_a_whole_download_has_its_last_chunk(world: World) -> None:
    """What the others are told by."""
    export = await world.made()
    async with slow(world, export) as client:
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        assert (await client.rest()).endswith(LAST_CHUNK)
    assert (await world.job(export))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("left", [100_000, 1_000_000, 3_000_000])
async def test_a_client_that_pauses_at_the_end_gets_its_last_chunk(world: World, left: int) -> None:
    """Whether what it has not read is with the kernel, or with us still."""
    export = await world.made()
    async with slow(world, export) as client:
        await client.head()
        await client.some(len(lines(world.stored())) - left)
        await asyncio.sleep(0.5)  # five beats
        assert (await client.rest()).endswith(LAST_CHUNK)
    assert (await world.job(export))["status"] == "SUCCEEDED"


async def test_a_client_that_goes_away_cancels_its_download_and_may_come_back(world: World) -> None:
    export = await world.made()
    async with slow(world, export) as client:
        await client.head()
        assert (await world.job(export))["status"] == "RUNNING"
    job = await until(world, export, _ended)
    assert (job["status"], job["reason"]) == ("CANCELED", "CLIENT_GONE")
    expected = lines(world.stored())
    assert (await world.get(f"/{export}/download?offset=1000000")).content == expected[1_000_000:]
    assert (await world.job(export))["status"] == "SUCCEEDED"


async def test_a_revoked_key_ends_its_download(world: World, superuser: Database) -> None:
    """Within seconds, as everything it can do."""
    export = await world.made()
    async with slow(world, export) as client:
        await client.head()
        await superuser.execute("UPDATE api_key SET revoked_at = now() WHERE company_id = $1 AND workspace_id IS NULL", world.tenant.id)
        async with asyncio.timeout(SECONDS):
            while (reason := await superuser.fetchval("SELECT reason FROM export_job WHERE id = $1", export)) is None:
                await asyncio.sleep(0.02)
        assert reason == "KEY_ENDED"
        assert not (await client.rest()).endswith(LAST_CHUNK)


async def test_a_cancelled_download_is_cut_and_stays_cancelled(world: World, superuser: Database) -> None:
    export = await world.made()
    async with slow(world, export) as client:
        await client.head()
        answer = await world.api.post(f"/v1/exports/{export}/cancel", headers=world.key())
        assert (answer.json()["status"], answer.json()["reason"]) == ("CANCELED", "REQUESTED")
        assert not (await client.rest()).endswith(LAST_CHUNK)
    assert (await world.get(f"/{export}/download")).status_code == 409
    again = await world.api.post(f"/v1/exports/{export}/cancel", headers=world.key())
    assert (again.status_code, again.json()["status"]) == (200, "CANCELED")
    assert [entry.action for entry in await told(superuser, world.tenant.id)] == [
        "export.create", "export.download", "export.cancel", "export.download", "export.cancel"
    ]  # fmt: skip


async def test_what_has_succeeded_stays_so(world: World) -> None:
    """Cancelled, or downloaded again by a client that goes away."""
    export = await world.made()
    await world.get(f"/{export}/download")
    manifest = (await world.get(f"/{export}/manifest")).json()
    answer = await world.api.post(f"/v1/exports/{export}/cancel", headers=world.key())
    assert (answer.status_code, answer.json()["status"]) == (200, "SUCCEEDED")
    async with slow(world, export) as client:
        await client.head()
    async with asyncio.timeout(SECONDS):
        while await world.superuser.fetchval("SELECT run IS NOT NULL FROM export_job WHERE id = $1", export):
            await asyncio.sleep(0.02)
    assert (await world.get(f"/{export}/manifest")).json() == manifest


async def test_a_company_downloads_two_at_a_time(world: World) -> None:
    """Of one that is under way a new download takes the place; the older one is cut."""
    first, second, third = [await world.made() for _ in range(3)]
    async with slow(world, first) as one, slow(world, second) as two:
        await one.head()
        await two.head()
        refused = await world.get(f"/{third}/download")
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "RATE_LIMITED", "10")
        assert (await world.get(f"/{first}/download")).content == lines(world.stored())
        assert not (await one.rest()).endswith(LAST_CHUNK)
        assert (await world.job(first))["status"] == "SUCCEEDED"
        assert (await world.get(f"/{third}/download")).status_code == 200


@pytest.mark.parametrize("broken", ["api.exports.downloads.encoder", "api.exports.downloads.Content"])
async def test_a_download_that_never_began_holds_no_place(world: World, broken: str) -> None:
    """Whatever of it could not be made."""
    export = await world.made()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broken, None)
        for _ in range(3):
            assert (await world.get(f"/{export}/download")).status_code == 500
    assert await world.superuser.fetchval("SELECT run FROM export_job WHERE id = $1", export) is None
    assert (await world.get(f"/{export}/download")).status_code == 200


async def test_a_download_whose_process_died_has_failed(world: World, superuser: Database) -> None:
    """And holds no place any more."""
    exports = [await world.made(limit=1) for _ in range(3)]
    await superuser.execute(
        "UPDATE export_job SET state = 'RUNNING', run = gen_random_uuid(), heartbeat_at = now() - interval '61 seconds' "
        "WHERE id = ANY($1::uuid[])",
        exports,
    )
    job = await world.job(exports[0])
    assert (job["status"], job["reason"]) == ("FAILED", "PROCESS_DIED")
    assert (await world.get(f"/{exports[0]}/download")).status_code == 200


async def test_an_archive_that_can_not_be_read_cuts_the_download(
    world: World, servers: LocalStack, superuser: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archive_of(servers, superuser) as archive:
        await _spoil(world, archive)
    export = await world.made(source="HOT_AND_ARCHIVED")
    async with slow(world, export) as client:
        await client.head()
        assert not (await client.rest()).endswith(LAST_CHUNK)
    job = await until(world, export, _ended)
    assert (job["status"], job["reason"]) == ("FAILED", "ARCHIVE_UNREADABLE")
    assert (await world.get(f"/{export}/manifest")).status_code == 409


async def test_one_that_went_cold_meanwhile_does_too(world: World, servers: LocalStack, superuser: Database) -> None:
    """And says so: it is no fault of the archive's, and nobody is called for it."""
    async with archive_of(servers, superuser) as archive:
        await _freeze(world, archive)
    export = await world.made(source="HOT_AND_ARCHIVED")
    async with slow(world, export) as client:
        await client.head()
        assert not (await client.rest()).endswith(LAST_CHUNK)
    job = await until(world, export, _ended)
    assert (job["status"], job["reason"]) == ("FAILED", "ARCHIVE_COLD")


async def _spoil(world: World, archive: Archive) -> None:
    """Archive, purge, and put another object in the archive's place."""
    await _replaced(world, archive, lambda key, stored: archive.objects.put_new(key, stored[:-40] + bytes(40)))


async def _freeze(world: World, archive: Archive) -> None:
    """Archive, purge, and have the store move it to where nothing is read at once."""
    await _replaced(world, archive, lambda key, stored: archive.objects.put_new(key, stored, storage_class="GLACIER"))


async def _replaced(world: World, archive: Archive, put: Callable[[str, bytes], None]) -> None:
    part = await archive.part(await world.archive(archive))
    await world.purge()
    stored = archive.objects.get(part.key)
    assert archive.objects.delete(part.key)
    put(part.key, stored)


async def test_a_client_that_stops_reading_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else it would keep its company's place for ever."""
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    export = await world.made()
    async with slow(world, export) as client:
        await client.head()
        job = await until(world, export, _ended)
        assert (job["status"], job["reason"]) == ("CANCELED", "CLIENT_STALLED")


async def test_http_without_chunks_gets_no_download(world: World) -> None:
    export = await world.made()
    async with slow(world, export, "1.0") as client:
        assert (await client.head()).split()[1] == b"400"
    assert (await world.job(export))["status"] == "PENDING"


async def test_a_server_that_stops_breaks_its_downloads_off(servers: LocalStack, superuser: Database) -> None:
    stopping = asyncio.Event()
    async with served(create_app(servers.settings(Role.API), stopping=stopping)) as api:
        world = await world_of(servers, superuser, api)
        chain = world.chains[0]
        await store(superuser, chain, [chain.event(metadata=b'{"n":"%b"}' % (b"x" * LARGE_BYTES)) for _ in range(LARGE)])
        export = await world.made()
        async with slow(world, export) as client:
            await client.head()
            stopping.set()
            assert not (await client.rest()).endswith(LAST_CHUNK)
        job = await until(world, export, _ended)
    assert (job["status"], job["reason"]) == ("FAILED", "INTERRUPTED")
