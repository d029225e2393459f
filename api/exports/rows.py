"""Exports as they stand in the database, and as they are shown and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from api.answers import time
from api.asked import EventFilter
from api.exports.wishes import ExportFilters, Format, Source
from ops.db import Row

DEAD_SECONDS: Final = 60.0
"""A download that has not been heard of for so long is over: its process died."""
REQUESTED: Final = "REQUESTED"
"""Why an export is cancelled for good."""
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "JSONL": "application/x-ndjson",
    "CSV": "text/csv; charset=utf-8",
    "PARQUET": "application/vnd.apache.parquet",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is exported. Times are in microseconds; ``filters`` are as they were sent, in JSON's terms."""

    source: Source
    format: Format
    filters: Mapping[str, Any]
    start: int | None
    end: int | None
    limit: int | None
    csv_raw: bool
    verification: bool

    def filter(self) -> EventFilter:
        """As events are judged by it."""
        shown = {name: value if name not in _TIMES else time(value) for name, value in self.filters.items()}
        return ExportFilters.model_validate(shown).filter(self.start, self.end)

    @property
    def is_filtered(self) -> bool:
        """Whether events are left out of the middle: then what is exported is no chain."""
        return bool(self.filters.keys() - {"workspaceId"}) or self.start is not None or self.end is not None

    def shown(self) -> dict[str, Any]:
        """As it was asked."""
        return {
            "source": self.source,
            "format": self.format,
            "filters": {name: time(value) if name in _TIMES else value for name, value in self.filters.items()},
            "from": time(self.start),
            "to": time(self.end),
        }


_TIMES = frozenset(("receivedFrom", "receivedTo"))


@dataclass(frozen=True, slots=True)
class Job:
    """An export. Times are in microseconds; ``most_rows`` is its own limit or the plan's. ``result`` is there once it succeeded."""

    id: str
    workspace_id: str | None
    wish: Wish
    most_rows: int | None
    state: str
    reason: str | None
    rows: int
    truncated: bool
    created_at: int
    started_at: int | None
    finished_at: int | None
    result: Result | None

    @property
    def file_name(self) -> str:
        """What a download is called."""
        return f"hyrelog-export-{self.id}.{self.wish.format.lower()}"

    def target(self) -> dict[str, Any]:
        """As an entry of the audit names it."""
        return {"id": self.id, "type": "export"}

    def shown(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "jobId": self.id,
            "status": self.state,
            "reason": self.reason,
            **self.wish.shown(),
            "limit": self.wish.limit,
            "csvRaw": self.wish.csv_raw,
            "verification": self.wish.verification,
            "rows": str(self.rows),
            "truncated": self.truncated,
            "createdAt": time(self.created_at),
            "startedAt": time(self.started_at),
            "finishedAt": time(self.finished_at),
        }

    def manifest(self, result: Result) -> dict[str, Any]:
        """The JSON object of what it came to."""
        return {
            "jobId": self.id,
            **self.wish.shown(),
            "rows": str(self.rows),
            "truncated": self.truncated,
            "filtered": self.wish.is_filtered,
            "bytes": str(result.size),
            "sha256": result.sha256.hex(),
            "createdAt": time(self.created_at),
            "finishedAt": time(self.finished_at),
            "workspaces": result.workspaces,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """Of a whole download: size and SHA-256 of its unencoded content, and what there is of each workspace, in JSON's terms."""

    size: int
    sha256: bytes
    workspaces: list[dict[str, Any]]


def to_job(row: Row) -> Job:
    """The export of a row of the named queries ``export`` and ``exports``."""
    is_dead = row["is_dead"] and row["state"] == "RUNNING"
    workspace = row["workspace_id"]
    filters: dict[str, Any] = orjson.loads(row["filters"])
    terms = (row["from_at"], row["to_at"], row["row_limit"], row["csv_raw"], row["verification"])
    has_result = row["sha256"] is not None
    return Job(
        id=str(row["id"]),
        workspace_id=None if workspace is None else str(workspace),
        wish=Wish(row["source"], row["format"], filters, *terms),
        most_rows=row["most_rows"],
        state="FAILED" if is_dead else row["state"],
        reason="PROCESS_DIED" if is_dead else row["reason"],
        rows=row["rows"],
        truncated=row["truncated"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        result=Result(row["bytes"], row["sha256"], orjson.loads(row["workspaces"])) if has_result else None,
    )
