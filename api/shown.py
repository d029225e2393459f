"""Workspaces and projects as JSON objects."""

from __future__ import annotations

from typing import Any

from api.answers import time
from ops.db import Row


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
