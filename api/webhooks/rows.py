"""Endpoints as they stand in the database, and as they are shown and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from api.answers import time
from ops.db import Row
from schemas.webhooks import Filters


@dataclass(frozen=True, slots=True)
class Terms:
    """What an endpoint's owner says of it."""

    url: str
    events: Sequence[str]
    filters: Filters
    description: str | None

    def told(self) -> dict[str, Any]:
        """As an entry of the audit tells them: a URL without its query, where tokens are."""
        return {"url": self.url.partition("?")[0], "events": list(self.events), "filters": self.filters.told()}


@dataclass(frozen=True, slots=True)
class Replay:
    """Events that are sent again; ``events`` is how many are in line or were. Times are in microseconds."""

    id: str
    state: str
    events: int
    created_at: int
    finished_at: int | None

    def shown(self) -> dict[str, Any]:
        """The JSON object."""
        times = {"createdAt": time(self.created_at), "finishedAt": time(self.finished_at)}
        return {"id": self.id, "state": self.state, "events": self.events} | times


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint without its secrets. Times are in microseconds."""

    id: str
    workspace_id: str
    project_id: str | None
    terms: Terms
    enabled: bool
    disabled_reason: str | None
    disabled_at: int | None
    failing_since: int | None
    previous_until: int | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    replay: Replay | None

    def status(self) -> str:
        """ACTIVE, DISABLED or DELETED."""
        if self.deleted_at is not None:
            return "DELETED"
        return "ACTIVE" if self.enabled else "DISABLED"

    def rotates_until(self, now: int) -> int | None:
        """The end of the running overlap of two secrets, if one is."""
        return self.previous_until if self.previous_until is not None and self.previous_until > now else None

    def target(self) -> Mapping[str, Any]:
        """As an entry of the audit names it."""
        return {"id": self.id, "type": "webhook"}

    def shown(self, now: int) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "workspaceId": self.workspace_id,
            "projectId": self.project_id,
            "url": self.terms.url,
            "events": list(self.terms.events),
            "filters": self.terms.filters.told(),
            "description": self.terms.description,
            "status": self.status(),
            "disabledReason": self.disabled_reason,
            "disabledAt": time(self.disabled_at),
            "failingSince": time(self.failing_since),
            "secretRotatesUntil": time(self.rotates_until(now)),
            "createdAt": time(self.created_at),
            "updatedAt": time(self.updated_at),
            "deletedAt": time(self.deleted_at),
            "replay": None if self.replay is None else self.replay.shown(),
        }


def to_webhook(row: Row) -> Webhook:
    """The endpoint of a row of the named query ``webhook``."""
    project = row["project_id"]
    return Webhook(
        id=str(row["id"]),
        workspace_id=str(row["workspace_id"]),
        project_id=None if project is None else str(project),
        terms=Terms(row["url"], row["events"], Filters.parse(orjson.loads(row["filters"])), row["description"]),
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
        disabled_at=row["disabled_at"],
        failing_since=row["failing_since"],
        previous_until=row["previous_until"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
        replay=None if row["replay_id"] is None else _to_replay(row),
    )


def _to_replay(row: Row) -> Replay:
    return Replay(str(row["replay_id"]), row["state"], row["replayed"], row["replay_created_at"], row["finished_at"])
