"""Companies, workspaces and projects as JSON objects."""

from __future__ import annotations

from typing import Any

import orjson

from api.answers import time
from ops.db import Row
from schemas.plans import MEMBERS
from schemas.topics import Region


def shown_workspace(row: Row) -> dict[str, Any]:
    """The JSON object of a workspace."""
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "kind": row["kind"],
        "archivedAt": time(row["archived_at"]),
        "createdAt": time(row["created_at"]),
        "seq": row["seq"],
    }


def shown_project(row: Row) -> dict[str, Any]:
    """The JSON object of a project."""
    return {
        "id": str(row["id"]),
        "workspaceId": str(row["workspace_id"]),
        "name": row["name"],
        "createdAt": time(row["created_at"]),
    }


def shown_company(row: Row, region: Region) -> dict[str, Any]:
    """The JSON object of a company, from a row of the named query ``company``."""
    limits: dict[str, Any] = orjson.loads(row["limits"])
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "region": region.value,
        "plan": row["plan"],
        "limits": {name: limits[name] for name in MEMBERS},
        "overrides": orjson.loads(row["overrides"]),
        "used": {name: row[name] for name in ("events", "workspaces", "projects", "keys", "webhooks")},
        "createdAt": time(row["created_at"]),
    }
