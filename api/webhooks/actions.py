"""What a company's own keys do to its endpoints: each action and its audit entry in one transaction (contract §4, §8)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import orjson

from api.answers import time
from api.attempt import Attempt
from api.management import Management
from api.store import Store
from api.webhooks.rows import Terms, Webhook, to_webhook
from ops.auth import Principal
from ops.db import Connection, load_queries
from ops.egress import Policy, check_url
from ops.sealing import Sealer
from schemas import ids
from schemas.problems import Conflict, NotFound, PlanLimitExceeded, PlanRestricted, WorkspaceArchived, invalid
from schemas.webhooks import NOTICES, SECRET_BYTES, make_secret

OVERLAP_MICROS = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An endpoint and the secret it just got, which can't be told again."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something, from which address, and as what it is audited."""

    attempt: Attempt
    caller: Principal
    address: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What secrets are sealed with, and where URLs may lead."""

    sealer: Sealer
    policy: Policy


class Webhooks:
    """Endpoints in the regions' databases. Whatever acts raises ``NotFound`` for one that is deleted or not the company's, and
    ``Unauthorized`` or ``Forbidden`` when the caller's key is no longer good for it.
    """

    def __init__(self, store: Store, management: Management, rules: Rules) -> None:
        self._store = store
        self._management = management
        self._rules = rules
        self._sql = load_queries("api.webhooks")

    def now(self) -> int:
        """The time by which overlaps are judged, in microseconds."""
        return self._management.now()

    async def get(self, caller: Principal, webhook_id: str) -> Webhook:
        """An endpoint of the company's, deleted ones too. Raises ``NotFound``."""
        async with self._store.reading_for(caller, "webhook") as connection:
            return await self.read(connection, caller, webhook_id)

    async def of_workspace(self, caller: Principal, workspace_id: str, after: str, limit: int) -> Sequence[Webhook]:
        """Up to ``limit`` endpoints with an id above ``after``. Raises ``NotFound``."""
        async with self._store.reading_for(caller, "webhooks") as connection:
            rows = await connection.fetch(self._sql["webhooks_of_workspace"], workspace_id, caller.company_id, after, limit)
        if not rows:
            raise NotFound
        return [to_webhook(row) for row in rows if row["id"] is not None]

    async def of_company(self, caller: Principal, workspace_id: str | None, after: str, limit: int) -> Sequence[Webhook]:
        """Up to ``limit`` endpoints with an id above ``after``, of all workspaces or of one; none of another company's workspace."""
        async with self._store.reading_for(caller, "webhooks_of_company") as connection:
            rows = await connection.fetch(self._sql["webhooks_of_company"], caller.company_id, workspace_id, after, limit)
        return [to_webhook(row) for row in rows]

    async def create(self, act: Act, workspace_id: str, project_id: str | None, terms: Terms) -> NewSecret:
        """A new endpoint. Raises ``ValidationFailed``, ``WorkspaceArchived``, ``PlanRestricted``, ``PlanLimitExceeded``."""
        self._check_url(terms.url)
        now, caller = self.now(), act.caller
        webhook_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        secret, sealed = self._secret(webhook_id)
        async with self._acting(act, "create_webhook") as connection:
            await self._check_place(connection, caller, workspace_id, project_id)
            await connection.execute(self._sql["lock_company"], caller.company_id)
            await self._check_room(connection, caller)
            await connection.execute(self._sql["hold_sink"])
            await connection.execute(self._sql["insert_head"], workspace_id, caller.company_id)
            place = (webhook_id, caller.company_id, workspace_id, project_id)
            await connection.execute(self._sql["insert_webhook"], *place, *_columns(terms), sealed, now)
            told = {"workspaceId": workspace_id, "projectId": project_id, **terms.told()}
            webhook = await self._done(connection, act, webhook_id, told)
        return NewSecret(webhook, secret)

    async def change(self, act: Act, webhook_id: str, changes: Mapping[str, Any]) -> Webhook:
        """Other terms, by the names of their fields. Raises ``ValidationFailed``."""
        if "url" in changes:
            self._check_url(changes["url"])
        async with self.holding(act, webhook_id, "change_webhook") as (connection, webhook):
            terms = replace(webhook.terms, **changes)
            await connection.execute(self._sql["change_webhook"], webhook_id, act.caller.company_id, *_columns(terms))
            told = {name: value for name, value in terms.told().items() if name in changes}
            return await self._done(connection, act, webhook_id, told)

    async def enable(self, act: Act, webhook_id: str) -> Webhook:
        """From the next event on. One that is enabled stays as it is. Raises ``PlanRestricted``, ``PlanLimitExceeded``."""
        async with self._acting(act, "enable_webhook") as connection:
            # Before the endpoint is held: whoever disables a company's surplus takes the two in this order.
            await connection.execute(self._sql["lock_company"], act.caller.company_id)
            webhook = await self._hold(connection, act.caller, webhook_id)
            if not webhook.enabled:
                await self._check_room(connection, act.caller)
                await connection.execute(self._sql["hold_sink"])
                await connection.execute(self._sql["enable_webhook"], webhook_id, act.caller.company_id)
            return await self._done(connection, act, webhook_id, {"before": webhook.status()})

    async def disable(self, act: Act, webhook_id: str) -> Webhook:
        """At once; its replay is cancelled. One that is disabled stays as it is."""
        async with self.holding(act, webhook_id, "disable_webhook") as (connection, webhook):
            for query in ("disable_webhook", "cancel_replay"):
                await connection.execute(self._sql[query], webhook_id, act.caller.company_id)
            return await self._done(connection, act, webhook_id, {"before": webhook.status()})

    async def delete(self, act: Act, webhook_id: str) -> Webhook:
        """At once; what was delivered can still be read."""
        async with self.holding(act, webhook_id, "delete_webhook") as (connection, webhook):
            for query in ("delete_webhook", "cancel_replay"):
                await connection.execute(self._sql[query], webhook_id, act.caller.company_id)
            return await self._done(connection, act, webhook_id, {"before": webhook.status()})

    async def rotate_secret(self, act: Act, webhook_id: str) -> NewSecret:
        """A new secret; the old one signs too for a day. Raises ``Conflict`` in the overlap of the last rotation."""
        async with self.holding(act, webhook_id, "rotate_webhook_secret") as (connection, webhook):
            now = self.now()
            if (until := webhook.rotates_until(now)) is not None:
                raise Conflict(f"The secret was rotated already, and can be again after {time(until)}.")
            secret, sealed = self._secret(webhook_id)
            await connection.execute(self._sql["rotate_secret"], webhook_id, act.caller.company_id, sealed, now + OVERLAP_MICROS)
            return NewSecret(await self._done(connection, act, webhook_id, {"overlapUntil": time(now + OVERLAP_MICROS)}), secret)

    async def test(self, act: Act, webhook_id: str) -> str:
        """The id of a delivery that tells of no event. A disabled endpoint gets it too."""
        delivery_id = ids.uuid7(self.now(), os.urandom(ids.RANDOM_BYTES))
        async with self.holding(act, webhook_id, "test_webhook") as (connection, webhook):
            await connection.execute(self._sql["insert_test"], webhook_id, act.caller.company_id, delivery_id)
            await self.write(connection, act, webhook, {"deliveryId": delivery_id})
        return delivery_id

    @asynccontextmanager
    async def holding(
        self, act: Act, webhook_id: str, action: str, parameters: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[tuple[Connection, Webhook]]:
        """A transaction in the company's name under PostgreSQL's ``parameters``, and an endpoint that nobody else changes until its end."""
        async with self._acting(act, action, parameters) as connection:
            yield connection, await self._hold(connection, act.caller, webhook_id)

    async def read(self, connection: Connection, caller: Principal, webhook_id: str) -> Webhook:
        """The endpoint as it stands in the connection's transaction. Raises ``NotFound``."""
        row = await connection.fetchrow(self._sql["webhook"], webhook_id, caller.company_id)
        if row is None:
            raise NotFound
        return to_webhook(row)

    async def write(self, connection: Connection, act: Act, webhook: Webhook, told: Mapping[str, Any]) -> None:
        """Add what was done to the audit, in the connection's transaction."""
        await self._management.write(connection, act.attempt, act.attempt.done(webhook.target(), told))

    @asynccontextmanager
    async def _acting(self, act: Act, action: str, parameters: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[Connection]:
        async with self._store.acting(act.caller.region, act.caller.company_id, action, parameters) as connection:
            await self._management.hold(connection, act.caller, act.address)
            yield connection
            await connection.execute(self._sql["notify_dispatchers"], NOTICES)

    async def _hold(self, connection: Connection, caller: Principal, webhook_id: str) -> Webhook:
        if await connection.fetchval(self._sql["hold_webhook"], webhook_id, caller.company_id) is None:
            raise NotFound
        return await self.read(connection, caller, webhook_id)

    async def _done(self, connection: Connection, act: Act, webhook_id: str, told: Mapping[str, Any]) -> Webhook:
        webhook = await self.read(connection, act.caller, webhook_id)
        await self.write(connection, act, webhook, told)
        return webhook

    async def _check_place(self, connection: Connection, caller: Principal, workspace_id: str, project_id: str | None) -> None:
        row = await connection.fetchrow(self._sql["place_of_endpoint"], workspace_id, caller.company_id, project_id)
        if row is None:
            raise NotFound
        if row["archived"]:
            raise WorkspaceArchived("The workspace is archived: it gets no webhooks.")
        if not row["has_project"]:
            raise invalid("projectId", "is not a project of this workspace")

    async def _check_room(self, connection: Connection, caller: Principal) -> None:
        """Raise unless the plan allows one more. Under the company's lock, what they say holds until the transaction ends."""
        ((allowed, enabled),) = await connection.fetch(self._sql["room_of_company"], caller.company_id)
        if allowed == 0:
            raise PlanRestricted("The company's plan does not include webhooks.")
        if enabled >= allowed:
            raise PlanLimitExceeded(f"The company's plan allows {allowed} enabled webhooks.")

    def _check_url(self, url: str) -> None:
        try:
            check_url(url, self._rules.policy)
        except ValueError as error:
            raise invalid("url", str(error)) from None

    def _secret(self, webhook_id: str) -> tuple[str, bytes]:
        """A new secret, and as it is stored."""
        secret = make_secret(os.urandom(SECRET_BYTES))
        return secret, self._rules.sealer.seal(secret.encode(), webhook_id)


def _columns(terms: Terms) -> tuple[str, list[str], str, str | None]:
    return terms.url, list(terms.events), orjson.dumps(terms.filters.told()).decode(), terms.description
