"""Companies beside each other with something to see in each, and every kind of caller who might try to see it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg

from ops.db import use_micros
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.event import StoredEvent
from schemas.keys import ENTROPY_BYTES, Scope, hash_key, key_prefix, make_key
from schemas.topics import Region
from schemas.webhooks import delivery_id
from tests.support import searching
from tests.support.chains import BASE_TIME, Chain, store
from tests.support.managing import LOOPBACK, bind
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_INSERT_KEY = (
    "INSERT INTO api_key (id, company_id, workspace_id, key_hash, prefix, name, expires_at, revoked_at) "
    "VALUES ($1, $2, $3, $4, $5, 'Spent', $6, $7)"
)


class Caller(StrEnum):
    """Who calls, seen from the workspace that is called about."""

    WORKSPACE = "its key"
    COMPANY = "its company's key"
    OTHER_WORKSPACE = "another workspace of its company"
    OTHER_COMPANY = "another company"
    FOREIGN_WORKSPACE = "a workspace of another company"
    OTHER_REGION = "a company of another region"
    WRONG_REGION = "its key, relabelled to another region"
    NO_KEY = "nobody"
    NONSENSE = "no key at all"
    UNKNOWN = "a key that was never made"
    EXPIRED_WORKSPACE = "its expired key"
    EXPIRED_COMPANY = "its company's expired key"
    REVOKED_WORKSPACE = "its revoked key"
    REVOKED_COMPANY = "its company's revoked key"


NEIGHBOURS = (Caller.OTHER_WORKSPACE, Caller.OTHER_COMPANY, Caller.FOREIGN_WORKSPACE, Caller.OTHER_REGION)
"""Callers with a good key that is not the workspace's or its company's."""
STRANGERS = tuple(caller for caller in Caller if caller not in (Caller.WORKSPACE, Caller.COMPANY, *NEIGHBOURS))
"""Callers without a good key."""


@dataclass(frozen=True)
class Home:
    """The workspace that is called about, and what of it nobody else may see."""

    company_id: str
    workspace_id: str
    project_id: str
    event_id: str
    rejected_id: str
    key_id: str
    alias_id: str
    webhook_id: str
    export_id: str
    archive_id: str
    restore_id: str
    event_ids: frozenset[str]

    @property
    def names(self) -> Mapping[str, str]:
        """What stands for its objects in a path."""
        return {
            "workspace": self.workspace_id,
            "project": self.project_id,
            "event": self.event_id,
            "key": self.key_id,
            "rejected": self.rejected_id,
            "alias": self.alias_id,
            "webhook": self.webhook_id,
            "export": self.export_id,
            "archive": self.archive_id,
            "restore": self.restore_id,
        }

    def shown_in(self, text: str) -> set[str]:
        """What of its own stands in an answer."""
        return {own for own in (*self.names.values(), *self.event_ids) if own in text and own not in (self.project_id, self.alias_id)}


@dataclass(frozen=True)
class Neighbourhood:
    """The workspace, and the text of each caller's key; ``None``: no header."""

    home: Home
    keys: Mapping[Caller, str | None]
    other_company: str
    company_abroad: str


async def neighbourhood(servers: LocalStack, superuser: Database) -> Neighbourhood:
    """New companies, each with events, rejections and keys that may manage. ``superuser`` is a connection to US."""
    own, other, abroad = servers.tenant(workspaces=2), servers.tenant(), servers.tenant(Region.EU)
    connection = await asyncpg.connect(servers.superuser_url(Region.EU))
    await use_micros(connection)
    await _furnish(connection, abroad)
    await connection.close()
    await _furnish(superuser, other)
    keys = await _keys(servers, superuser, own, other, abroad)
    return Neighbourhood(await _furnish(superuser, own), keys, str(other.id), str(abroad.id))


async def _furnish(superuser: Database, tenant: Tenant) -> Home:
    """Events and a rejection in each workspace; the first one is the home."""
    await bind(superuser, tenant, LOOPBACK)
    homes: list[Home] = []
    for workspace in tenant.workspaces:
        chain = Chain(str(tenant.id), str(workspace.id), tenant.region)
        events = [chain.event(project_id=str(workspace.project_id)) for _ in range(3)]
        await store(superuser, chain, events)
        await searching.index(superuser, events)
        await searching.name(superuser, events[0], "key-1")
        rejected, repeat = uuid4(), str(uuid4())
        await searching.alias(superuser, events[0], repeat)
        await superuser.execute(
            "INSERT INTO rejected VALUES (0, $1, 0, $2, $3, $4, 'POISON', 'could not be stored', $5, $5, '')",
            uuid4().int >> 70, rejected, tenant.id, workspace.id, BASE_TIME,
        )  # fmt: skip
        key: UUID = await superuser.fetchval("SELECT id FROM api_key WHERE workspace_id = $1", workspace.id)
        webhook = await _endpoint(superuser, events[0])
        ids = (str(tenant.id), str(workspace.id), str(workspace.project_id), events[0].id, str(rejected), str(key), repeat, webhook)
        archives = [await cold_archive(superuser, tenant.id, len(homes) * 2 + each) for each in (1, 2)]
        restore = await _restore_request(superuser, tenant.id, archives[1])
        export = await _export(superuser, events)
        homes.append(Home(*ids, export, archives[0], restore, frozenset(event.id for event in events)))
    return homes[0]


async def _endpoint(superuser: Database, event: StoredEvent) -> str:
    """A webhook of the event's workspace, and the event's delivery to it."""
    webhook, place = str(uuid4()), (event.company_id, event.workspace_id)
    await superuser.execute(
        "INSERT INTO webhook (id, company_id, workspace_id, url, events, from_seq, secret) "
        "VALUES ($1, $2, $3, 'https://hooks.example.com/', '{AUDIT_EVENT_CREATED}', 1, '')",
        webhook, *place,
    )  # fmt: skip
    await superuser.execute(
        "INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, 'EVENT', now())",
        webhook, delivery_id(webhook, event.id, event.received_at), *place, event.seq, event.id,
    )  # fmt: skip
    return webhook


async def _export(superuser: Database, events: Sequence[StoredEvent]) -> str:
    """An export of the events, as one that was made with their workspace's key."""
    export, place = str(uuid4()), (events[0].company_id, events[0].workspace_id)
    await superuser.execute(
        "INSERT INTO export_job (id, company_id, workspace_id, source, format, filters, csv_raw, verification, created_at) "
        "VALUES ($1, $2, $3, 'HOT', 'JSONL', '{}', false, true, now())",
        export, *place,
    )  # fmt: skip
    await superuser.execute("INSERT INTO export_scope VALUES ($1, $2, $3, 1, $4)", export, *place, len(events))
    return export


async def cold_archive(superuser: Database, company: UUID, part: int) -> str:
    """An archive of the company that is cold, without its objects."""
    archive = str(uuid4())
    await superuser.execute(
        "INSERT INTO archive_part (id, company_id, archive_day, part, row_count, archive_until, cold_after_days, marked_at, archived_at, "
        "key, sha256, content_sha256, size, keys_size, blocks, occurred_from, occurred_to, received_from, received_to, verified_at, "
        "is_cold_archived, cold_archive_key) VALUES ($1, $2, '2026-01-01', $3, 3, '2033-01-01', 180, now(), now(), "
        "$4, $5, $5, 4096, 192, '', now(), now(), now(), now(), now(), true, $4)",
        archive, company, part, f"archives/{archive}", bytes(32),
    )  # fmt: skip
    return archive


@asynccontextmanager
async def archived(stack: LocalStack, company: UUID) -> AsyncIterator[str]:
    """A cold archive of the company, for as long as somebody asks for it: it has no objects, and nobody else must miss them."""
    superuser = await asyncpg.connect(stack.superuser_url())
    yield await cold_archive(superuser, company, 1)
    await superuser.execute("DELETE FROM restore_request WHERE company_id = $1", company)
    await superuser.execute("DELETE FROM archive_part WHERE company_id = $1", company)
    await superuser.close()


async def _restore_request(superuser: Database, company: UUID, archive: str) -> str:
    """A request to restore it, which waits for its decision."""
    request = str(uuid4())
    await superuser.execute(
        "INSERT INTO restore_request (id, company_id, part_id, archive_key, size, tier, days, cost_usd, prices_as_of, earliest_seconds, "
        "latest_seconds, requested_by, requested_at) VALUES ($1, $2, $3, $4, 4096, 'BULK', 7, 0, '2025-10-28', 1, 2, 'usr-1', now())",
        request, company, archive, f"archives/{archive}",
    )  # fmt: skip
    return request


async def _keys(servers: LocalStack, superuser: Database, own: Tenant, other: Tenant, abroad: Tenant) -> dict[Caller, str | None]:
    secret = servers.settings(Role.API).secrets("api_key_secret")[0]
    home = own.workspaces[0]

    async def spent(workspace_id: UUID | None, **ends: int) -> str:
        text = make_key(own.region, Scope.COMPANY if workspace_id is None else Scope.WORKSPACE, secrets.token_bytes(ENTROPY_BYTES))
        stored = (hash_key(secret, text), key_prefix(text), ends.get("expired"), ends.get("revoked"))
        await superuser.execute(_INSERT_KEY, uuid4(), own.id, workspace_id, *stored)
        return text

    company_key = own.key or ""
    return {
        Caller.WORKSPACE: home.key,
        Caller.COMPANY: company_key,
        Caller.OTHER_WORKSPACE: own.workspaces[1].key,
        Caller.OTHER_COMPANY: other.key,
        Caller.FOREIGN_WORKSPACE: other.workspaces[0].key,
        Caller.OTHER_REGION: abroad.key,
        Caller.WRONG_REGION: company_key.replace("hlk_us_", "hlk_eu_"),
        Caller.NO_KEY: None,
        Caller.NONSENSE: "open sesame",
        Caller.UNKNOWN: make_key(own.region, Scope.COMPANY, secrets.token_bytes(ENTROPY_BYTES)),
        Caller.EXPIRED_WORKSPACE: await spent(home.id, expired=BASE_TIME),
        Caller.EXPIRED_COMPANY: await spent(None, expired=BASE_TIME),
        Caller.REVOKED_WORKSPACE: await spent(home.id, revoked=BASE_TIME),
        Caller.REVOKED_COMPANY: await spent(None, revoked=BASE_TIME),
    }
