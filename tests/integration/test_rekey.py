"""``hyrelog rekey``: every secret ends under the current key, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import secrets as entropy
import signal
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ops.local.environment import Role, service_environ
from ops.rekey import WEBHOOKS, rekey
from ops.sealing import Sealer
from ops.seed import Tenant
from ops.settings import Settings
from schemas.topics import REGIONS, Region
from schemas.webhooks import make_secret
from tests.support.commanding import Completed, run_here
from tests.support.managing import Database
from tests.support.sinking import until
from tests.support.stack import LocalStack

NEW, OLD, LOST = (sha256(name).hexdigest() for name in (b"new", b"old", b"lost"))
BOTH = {
    "WEBHOOK_SECRET_ENCRYPTION_KEY": NEW,
    "WEBHOOK_SECRET_ENCRYPTION_KEY_PREVIOUS": OLD,
    "ARCHIVE_KEY": NEW,
    "ARCHIVE_KEY_PREVIOUS": OLD,
}

_INSERT = """
INSERT INTO webhook (id, company_id, workspace_id, url, events, from_seq, secret, previous_secret, previous_until,
                     enabled, disabled_reason, disabled_at, deleted_at)
SELECT $1, $2, $3, 'https://example.com/', '{AUDIT_EVENT_CREATED}', 1, $4, $5::bytea, CASE WHEN $5 IS NOT NULL THEN now() END,
       deleted IS NULL, CASE WHEN deleted IS NOT NULL THEN 'MANUAL' END, deleted, deleted
FROM (SELECT CASE WHEN $6::boolean THEN now() END AS deleted) AS at
"""


def sealer(*keys: str) -> Sealer:
    return Sealer([bytes.fromhex(key) for key in keys])


class Webhooks:
    """A company's webhooks, and the secrets that they should have."""

    def __init__(self, superuser: Database, tenant: Tenant) -> None:
        self._superuser = superuser
        self._tenant = tenant
        self.secrets: dict[UUID, list[str | None]] = {}

    async def add(self, key: str, previous_key: str | None = None, *, deleted: bool = False) -> UUID:
        """One with a secret sealed under that key, and in a rotation's overlap one under another."""
        made = uuid4()
        self.secrets[made] = [make_secret(entropy.token_bytes(32)), previous_key and make_secret(entropy.token_bytes(32))]
        await self._superuser.execute(
            _INSERT,
            made,
            self._tenant.id,
            self._tenant.workspaces[0].id,
            *(self._sealed(made, which, under) for which, under in enumerate((key, previous_key))),
            deleted,
        )
        return made

    def _sealed(self, id: UUID, which: int, key: str | None) -> bytes | None:
        secret = self.secrets[id][which]
        return sealer(key).seal(secret.encode(), str(id)) if key and secret else None

    async def rotate(self, id: UUID, key: str) -> None:
        """As the API does it, by a process whose current key that is."""
        self.secrets[id] = [make_secret(entropy.token_bytes(32)), self.secrets[id][0]]
        statement = "UPDATE webhook SET previous_secret = secret, previous_until = now(), secret = $2 WHERE id = $1"
        await self._superuser.execute(statement, id, self._sealed(id, 0, key))

    async def stale(self) -> int:
        """How many have a secret that the new key alone does not open."""
        statement = "SELECT count(*) FROM webhook WHERE substr(secret, 1, 4) <> $1 OR substr(previous_secret, 1, 4) <> $1"
        found: int = await self._superuser.fetchval(statement, sealer(NEW).key_id)
        return found

    async def opened(self, *keys: str) -> dict[UUID, list[str | None]]:
        """Every secret, opened with those keys alone."""
        rows = await self._superuser.fetch("SELECT id, secret, previous_secret FROM webhook")
        return {row[0]: [sealed and sealer(*keys).open(sealed, str(row[0])).decode() for sealed in row[1:]] for row in rows}


@pytest.fixture
async def webhooks(servers: LocalStack, superuser: Database) -> AsyncIterator[Webhooks]:
    await superuser.execute("DELETE FROM audit_outbox")
    await superuser.execute("DELETE FROM company_data_key")  # of other tests' archives
    await _clear(servers)
    yield Webhooks(superuser, servers.tenant())
    await _clear(servers)


async def _clear(servers: LocalStack) -> None:
    """Of other tests' webhooks, too, in every region."""
    for region in REGIONS:
        connection = await asyncpg.connect(servers.superuser_url(region))
        await connection.execute("DELETE FROM webhook_replay; DELETE FROM webhook")
        await connection.close()


def environ(servers: LocalStack) -> dict[str, str]:
    return service_environ(servers.state, Role.ADMIN) | BOTH | {"REGIONS": "US,EU,UK,AU"}


def settings(servers: LocalStack) -> Settings:
    return Settings.model_validate({name.lower(): value for name, value in environ(servers).items()})


async def command(servers: LocalStack, *arguments: str) -> asyncio.subprocess.Process:
    asked = (sys.executable, "-m", "ops", "rekey", *arguments)
    environment = {**os.environ, **environ(servers)}
    return await asyncio.create_subprocess_exec(*asked, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)


async def run(servers: LocalStack) -> Completed:
    return await asyncio.to_thread(run_here, servers.state.root, ("rekey",), environ(servers))


async def waits_for_a_lock(superuser: Database) -> bool:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hyrelog-rekey' AND wait_event_type = 'Lock'"
    await superuser.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the activity of its beginning
    return bool(await superuser.fetchval(statement))


async def test_every_secret_is_sealed_anew(servers: LocalStack, webhooks: Webhooks, superuser: Database) -> None:
    """The current and the previous ones, of endpoints that are deleted too; what is current stays as it is."""
    await webhooks.add(OLD)
    await webhooks.add(OLD, OLD)
    await webhooks.add(NEW, OLD)
    await webhooks.add(OLD, deleted=True)
    current = await webhooks.add(NEW, NEW)
    before = await superuser.fetchrow("SELECT * FROM webhook WHERE id = $1", current)
    told = await run(servers)
    assert told.code == 0, told.output
    assert "US: the secrets of 4 webhooks were sealed anew" in told.output
    assert "can be unset" in told.output
    assert await webhooks.opened(NEW) == webhooks.secrets
    assert await superuser.fetchrow("SELECT * FROM webhook WHERE id = $1", current) == before


async def test_is_told_to_the_operators_audit(servers: LocalStack, webhooks: Webhooks, superuser: Database) -> None:
    await webhooks.add(OLD)
    await run(servers)
    rows = await superuser.fetch("SELECT company_id, workspace_id, record FROM audit_outbox")
    assert [row[:2] for row in rows] == [tuple(await superuser.fetchrow("SELECT * FROM operator_audit_workspace()") or ())]
    assert b"webhook.rekey" in rows[0][2]


async def test_run_again_it_changes_nothing(servers: LocalStack, webhooks: Webhooks, superuser: Database) -> None:
    await webhooks.add(OLD, OLD)
    await run(servers)
    before = await superuser.fetch("SELECT * FROM webhook")
    told = await run(servers)
    assert "US: the secrets of 0 webhooks were sealed anew" in told.output
    assert await superuser.fetch("SELECT * FROM webhook") == before
    assert await superuser.fetchval("SELECT count(*) FROM audit_outbox") == 1


async def test_a_secret_under_a_key_that_is_lost_is_named(servers: LocalStack, webhooks: Webhooks) -> None:
    """The rest is done; who unset the old key too early learns whose secrets still need it."""
    lost = [await webhooks.add(LOST), await webhooks.add(OLD, LOST)]
    for _ in range(3):
        await webhooks.add(OLD)
    told = await run(servers)
    assert told.code == 1
    assert "US: the secrets of 3 webhooks were sealed anew" in told.output
    assert all(f"webhook {each} still has" in told.output for each in lost)
    assert await webhooks.opened(NEW, OLD, LOST) == webhooks.secrets
    assert await webhooks.stale() == 2


async def test_killed_it_is_run_again(servers: LocalStack, webhooks: Webhooks, superuser: Database) -> None:
    for _ in range(7):
        await webhooks.add(OLD, OLD)
    ordered: list[Any] = await superuser.fetch("SELECT id FROM webhook ORDER BY id")
    async with superuser.transaction():
        await superuser.execute("SELECT FROM webhook WHERE id = $1 FOR UPDATE", ordered[5][0])
        process = await command(servers, "--batch", "2")
        await until(lambda: waits_for_a_lock(superuser))
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    assert await webhooks.stale() == 3  # two batches of two were committed, the third not
    assert await webhooks.opened(NEW, OLD) == webhooks.secrets
    again = await rekey(settings(servers), Region.US, WEBHOOKS, batch=2)
    assert (again.sealed, again.left) == (3, [])
    assert await webhooks.opened(NEW) == webhooks.secrets


@pytest.mark.parametrize("key", [NEW, OLD], ids=["by a new process", "by one with the old settings"])
async def test_a_secret_that_is_rotated_meanwhile_is_not_lost(
    servers: LocalStack, webhooks: Webhooks, superuser: Database, key: str
) -> None:
    """What was read is no longer there when it is to be written: it is left, and found again."""
    ids = [await webhooks.add(OLD, OLD) for _ in range(5)]
    async with superuser.transaction():
        await webhooks.rotate(ids[2], key)
        work = asyncio.create_task(rekey(settings(servers), Region.US, WEBHOOKS))
        await until(lambda: waits_for_a_lock(superuser))
    tally = await work
    assert (tally.sealed, tally.left) == (5, [])
    assert await webhooks.opened(NEW) == webhooks.secrets


async def test_data_keys_are_wrapped_anew_and_stay_the_same(servers: LocalStack, webhooks: Webhooks, superuser: Database) -> None:
    """Else no archive could be read any more."""
    data_key, company, lost = entropy.token_bytes(32), servers.tenant().id, servers.tenant().id
    await superuser.execute("DELETE FROM company_data_key")
    for each, key in ((company, OLD), (lost, LOST)):
        await superuser.execute(
            "INSERT INTO company_data_key (company_id, wrapped) VALUES ($1, $2)", each, sealer(key).seal(data_key, str(each))
        )
    told = await run(servers)
    wrapped = {row[0]: row[1] for row in await superuser.fetch("SELECT company_id, wrapped FROM company_data_key")}
    assert "US: the data keys of 1 companies were sealed anew" in told.output
    assert sealer(NEW).open(wrapped[company], str(company)) == data_key
    assert told.code == 1
    assert f"company {lost} still has a secret under another key" in told.output
    await superuser.execute("DELETE FROM company_data_key")
