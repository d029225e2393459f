"""One answer of two apps: ``/ready`` and ``/internal/health`` of the gateway name what either of them misses."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from ops.serve import App, Message, Receive, Scope, Send

PATHS = frozenset({"/ready", "/internal/health"})


@dataclass
class _Answer:
    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def take(self, message: Message) -> None:
        """The ``send`` of an ASGI app."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    @property
    def fields(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


async def serve_joint(first: App, second: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Ask both, add up what they miss and note, and answer as the one that is worse off."""
    answers = [_Answer(), _Answer()]
    await asyncio.gather(*(app(dict(scope), receive, answer.take) for app, answer in zip((first, second), answers, strict=True)))
    worse = max(answers, key=lambda answer: (answer.status, len(answer.fields.get("missing", ()))))
    if "status" not in worse.fields:  # a refusal, which neither adds to the other's
        await _send(send, worse, worse.body)
        return
    fields = {**answers[0].fields, "status": worse.fields["status"]}
    for list_name in ("missing", "notices"):
        if found := [name for answer in answers for name in answer.fields.get(list_name, ())]:
            fields[list_name] = list(dict.fromkeys(found))
    await _send(send, worse, json.dumps(fields).encode())


async def _send(send: Send, answer: _Answer, body: bytes) -> None:
    headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-length"]
    await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
