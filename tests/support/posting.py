"""A producer for the tests: posts to ingest, and can tell whether anything else was stored in between."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from ops.seed import Tenant
from tests.support.stack import LocalStack

LEAST = {"category": "auth", "action": "login"}
SINGLE, BATCH = "/v1/events", "/v1/events/batch"
WAIT = "wait=30"


class Producer:
    """A workspace of its own and a client with its key; ``seq`` is that of the last event known to be stored."""

    def __init__(self, stack: LocalStack, client: httpx.Client) -> None:
        self.client = client
        self.tenant: Tenant = stack.tenant()
        self.workspace = self.tenant.workspaces[0]
        self.seq = 0

    def post(self, body: bytes | Any, path: str = SINGLE, **headers: str | bytes | None) -> httpx.Response:
        """Post bytes as they are, anything else as JSON. Header names are written with ``_``; ``None`` leaves one out."""
        named = {"authorization": f"Bearer {self.workspace.key}", "content_type": "application/json"} | headers
        sent = [
            (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in named.items()
            if value is not None
        ]
        return self.client.post(path, content=body if isinstance(body, bytes) else orjson.dumps(body), headers=sent)

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON of a successful query."""
        answer = self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {self.workspace.key}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def store(self, event: dict[str, Any] | None = None, **headers: str) -> Any:
        """Post an event and wait until it is stored; returns it."""
        answer = self.post(LEAST | (event or {}), prefer=WAIT, **headers)
        assert answer.status_code == 201, answer.text
        self.seq = answer.json()["seq"]
        return answer.json()

    def stored_since(self) -> int:
        """How many events were stored since the last ``store`` or count: seqs have no gaps, so the next one tells."""
        before = self.seq
        self.store()
        return self.seq - before - 1
