"""The examples of ``/v1/exports``: one event's story, exported."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from api.exports.table import HEADER
from api.story import CREATED, CURSOR, LATER, WORKSPACE
from schemas.event import StoredEvent
from schemas.openapi import Json
from schemas.view import render

EXPORT: Final = "019c1400-a000-7e77-9f80-4b5c6d7e8f90"
_WISH: Final[Json] = {"source": "HOT", "format": "JSONL", "filters": {"category": "auth", "action": "user.*"}}
_ASKED: Final[Json] = {**_WISH, "from": CREATED, "to": None}
_EXPORT: Final[Json] = {
    "jobId": EXPORT,
    "status": "SUCCEEDED",
    "reason": None,
    **_ASKED,
    "limit": None,
    "csvRaw": False,
    "verification": True,
    "rows": "1",
    "truncated": False,
    "createdAt": LATER,
    "startedAt": LATER,
    "finishedAt": LATER,
}
OF_OPERATION: Final[dict[str, Json]] = {
    "post /v1/exports/{id}/cancel": _EXPORT | {"status": "CANCELED", "reason": "REQUESTED", "rows": "0", "startedAt": None},
}
"""Answers that are not as others of their shape."""
FINDINGS: Final[dict[str, Json]] = {
    "post /v1/exports": {"field": "format", "message": "Field required"},
    "get /v1/exports/{id}/download": {"field": "limit", "message": "Extra inputs are not permitted"},
}


def contents() -> dict[str, dict[str, Any]]:
    """What a download may be; of JSONL, ``api.examples`` has the example."""
    text: Json = {"schema": {"type": "string"}}
    return {
        "application/x-ndjson": text,
        "text/csv": {**text, "example": HEADER.decode()},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}, "example": "PAR1"},
    }


def shapes(event: StoredEvent) -> Json:
    """By the names of the shapes, of an export of that event."""
    line = render(event, verification=True) + b"\n"
    links = {"firstPrevHash": event.prev_hash.hex(), "firstHash": event.hash.hex(), "lastSeq": event.seq, "lastHash": event.hash.hex()}
    return {
        "ExportWish": {**_WISH, "from": CREATED},
        "NewExport": {"jobId": EXPORT, "status": "PENDING"},
        "Export": _EXPORT,
        "ExportPage": {"data": [_EXPORT], "nextCursor": CURSOR},
        "Manifest": {
            "jobId": EXPORT,
            **_ASKED,
            "rows": "1",
            "truncated": False,
            "filtered": True,
            "bytes": str(len(line)),
            "sha256": sha256(line).hexdigest(),
            "createdAt": LATER,
            "finishedAt": LATER,
            "workspaces": [{"workspaceId": WORKSPACE, "rows": "1", "firstSeq": event.seq, **links}],
        },
    }
