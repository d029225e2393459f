"""Workspaces and projects, as a company's people make and archive them: each action with its audit entry in one transaction."""

from __future__ import annotations

import os
from typing import Any

from api.answers import time
from api.attempt import Attempt
from api.management import Management
from api.shown import shown_workspace
from api.store import Store
from ops.auth import Principal
from ops.db import Connection, Row, load_queries
from schemas import ids
from schemas.problems import Conflict, Forbidden, NotFound, ValidationFailed, WorkspaceArchived, invalid


class Tenants:
    """What is a company's, in its region's database. Whatever acts raises ``NotFound`` for what is another company's."""

    def __init__(self, store: Store, management: Management) -> None:
        self._store = store
        self._management = management
        self._sql = load_queries("api.dashboard")

    async def add_workspace(self, attempt: Attempt, caller: Principal, name: str) -> dict[str, Any]:
        """A new workspace, as it is shown."""
        now = self._management.now()
        workspace_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        async with self._store.acting(caller.region, caller.company_id, "add_workspace") as connection:
            await connection.execute(self._sql["insert_workspace"], workspace_id, caller.company_id, name, now)
            await self._management.write(connection, attempt, attempt.done({"id": workspace_id, "type": "workspace"}, {"name": name}))
            return shown_workspace(await self._hold(connection, caller, workspace_id))

    async def set_archived(self, attempt: Attempt, caller: Principal, workspace_id: str, is_archived: bool) -> dict[str, Any]:
        """Archive a workspace (it takes no events, from within ten seconds on, and can still be read), or take it back.

        Raises ``Conflict`` when it is so already, ``Forbidden`` for the AUDIT workspace.
        """
        async with self._store.acting(caller.region, caller.company_id, "set_archived") as connection:
            row = await self._hold(connection, caller, workspace_id)
            _refuse_audit(row)
            if is_archived == (row["archived_at"] is not None):
                raise Conflict(f"The workspace is {'' if is_archived else 'not '}archived already.")
            since = self._management.now() if is_archived else None
            await connection.execute(self._sql["set_archived"], workspace_id, caller.company_id, since)
            await self._management.write(connection, attempt, attempt.done({"id": workspace_id, "type": "workspace"}, {}))
        return shown_workspace(row) | {"archivedAt": time(since)}

    async def add_project(self, attempt: Attempt, caller: Principal, workspace_id: str, name: str) -> dict[str, Any]:
        """A new project of a workspace, as it is shown. Raises ``ValidationFailed`` when the workspace is none of the company's."""
        now = self._management.now()
        project_id = ids.uuid7(now, os.urandom(ids.RANDOM_BYTES))
        async with self._store.acting(caller.region, caller.company_id, "add_project") as connection:
            try:
                row = await self._hold(connection, caller, workspace_id)
            except NotFound:
                raise not_of_company() from None
            _refuse_audit(row)
            if row["archived_at"] is not None:
                raise WorkspaceArchived("The workspace is archived: it gets no projects.")
            await connection.execute(self._sql["insert_project"], project_id, caller.company_id, workspace_id, name, now)
            told = {"name": name, "workspaceId": workspace_id}
            await self._management.write(connection, attempt, attempt.done({"id": project_id, "type": "project"}, told))
        return {"id": project_id, "workspaceId": workspace_id, "name": name, "createdAt": time(now)}

    async def _hold(self, connection: Connection, caller: Principal, workspace_id: str) -> Row:
        row = await connection.fetchrow(self._sql["hold_workspace"], workspace_id, caller.company_id)
        if row is None:
            raise NotFound
        return row


def not_of_company() -> ValidationFailed:
    """A workspace in a body that is another company's, or nobody's: both in the same words."""
    return invalid("workspaceId", "is not a workspace of this company")


def _refuse_audit(row: Row) -> None:
    if row["kind"] == "AUDIT":
        raise Forbidden("An AUDIT workspace is read-only: it has no projects, and can't be archived.")
