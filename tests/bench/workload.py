"""What is posted: events of a usual size from many workspaces, as whole HTTP requests made beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from ops.seed import Tenant

WORKSPACES = 32
"""Some for every partition; the requests go round all of them."""
BLANK_KEY = b"bench-key-0000000000000000"
"""Stands where a fresh idempotency key of the same length goes; wrk.lua knows it too."""
USER_AGENT = "acme-audit/2.3 (python 3.11; linux)"


def event(number: int) -> dict[str, Any]:
    """An event with all groups, about 500 bytes of JSON."""
    return {
        "timestamp": "2026-01-01T08:30:00.123456Z",
        "category": "document",
        "action": "document.shared",
        "outcome": "SUCCESS",
        "actor": {"id": f"usr_{number:08}", "type": "user", "name": "Ada Lovelace", "email": f"ada{number}@acme.example", "role": "editor"},
        "resource": {"type": "document", "id": f"doc_{number * 7:010}", "name": "Quarterly report"},
        "metadata": {
            "sharedWith": ["grace@acme.example", "alan@acme.example"],
            "permission": "comment",
            "version": number,
            "session": f"ses_{number * 31:016x}",
            "client": {"platform": "web", "release": "2026.1.4", "locale": "en-GB"},
        },
    }


def body(first: int, batch: int) -> bytes:
    """One event, or a JSON array of ``batch`` of them when that is more than one."""
    events = [event(first + index) for index in range(batch)]
    return orjson.dumps(events if batch > 1 else events[0])


def request(key: str, content: bytes, *, batch: int, is_keyed: bool = False) -> bytes:
    """A whole HTTP/1.1 request; a keyed one has ``BLANK_KEY`` for the generator to fill in, each time anew."""
    path = "/v1/events/batch" if batch > 1 else "/v1/events"
    idempotency = f"Idempotency-Key: {BLANK_KEY.decode()}\r\n" if is_keyed else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nUser-Agent: {USER_AGENT}\r\n{idempotency}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@contextmanager
def request_files(tenant: Tenant, batch: int, *, is_keyed: bool = False) -> Iterator[Path]:
    """A directory with one request a workspace, in files 1, 2, 3 …"""
    with TemporaryDirectory(prefix="hyrelog-bench-") as directory:
        for number, workspace in enumerate(tenant.workspaces, start=1):
            whole = request(workspace.key or "", body(number * batch, batch), batch=batch, is_keyed=is_keyed)
            (Path(directory) / str(number)).write_bytes(whole)
        yield Path(directory)
