"""The end of a download, whoever is slow: its last chunk comes exactly when it is written down that it succeeded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from api.exports import download
from api.exports.actions import Exports, Pulse, Started
from api.exports.coding import coder
from api.exports.content import Content
from api.exports.download import Download
from api.exports.encoders import Jsonl
from api.exports.rows import Job, Wish
from api.exports.source import Batch
from ops.auth import Principal
from ops.metrics import Metrics
from ops.serve import ABORT
from schemas.keys import Scope
from schemas.plans import PlanLimits
from schemas.topics import Region
from tests.support.chains import Chain

BEAT_SECONDS = 0.01
SECONDS = 10 * BEAT_SECONDS
COMPANY = str(uuid4())
EVENTS = Chain(COMPANY, str(uuid4())).events(4)
JOB = Job("x", None, Wish("HOT", "JSONL", {}, None, None, None, False, True), None, "RUNNING", None, 0, False, 0, 0, None, None)
LIMITS = PlanLimits(7, None, None, None, (), 0, True, (), None, None)
CALLER = Principal("", Region.US, Scope.COMPANY, COMPANY, None, None, LIMITS)


@dataclass
class Register:
    """What ``Exports`` does of a download: once it has succeeded its run is gone."""

    succeeded: bool = False
    ended: list[str] = field(default_factory=list)
    slow: bool = False

    async def beat(self, *_: object) -> Pulse:
        return Pulse.SUPERSEDED if self.succeeded else Pulse.GOES_ON

    async def succeed(self, *_: object) -> bool:
        self.succeeded = True
        if self.slow:
            await asyncio.sleep(SECONDS)
        return True

    async def end(self, _caller: object, _started: object, _state: str, reason: str, _rows: int) -> None:
        self.ended.append(reason)


@dataclass
class Client:
    """Reads at once, but for messages that it lets wait."""

    register: Register
    is_slow_at: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    succeeded_at: list[bool] = field(default_factory=list)
    aborted: bool = False

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(self, message: dict[str, Any]) -> None:
        is_empty = message.get("body") == b""
        if is_empty and self.is_slow_at == ("drain" if message.get("more_body") else "end"):
            await asyncio.sleep(SECONDS)
        self.messages.append(message)
        self.succeeded_at.append(self.register.succeeded)

    def abort(self) -> None:
        self.aborted = True

    @property
    def is_complete(self) -> bool:
        return not self.aborted and self.messages[-1].get("more_body") is False


async def _batches() -> AsyncGenerator[Batch]:
    yield Batch(EVENTS[0].workspace_id, events=EVENTS)


async def downloaded(register: Register, client: Client) -> None:
    content = Content(Jsonl(Region.US, verification=True), coder("identity"), None, 0)
    metrics = Metrics(CollectorRegistry())
    exports = cast("Exports", register)
    one = Download(exports, CALLER, Started(JOB, uuid4(), []), _batches(), content, "identity", stopping=asyncio.Event(), metrics=metrics)
    await one({"extensions": {ABORT: {"call": client.abort}}}, client.receive, cast("Any", client.send))


@pytest.fixture(autouse=True)
def _beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BEAT_SECONDS", BEAT_SECONDS)


@pytest.mark.parametrize("is_slow_at", ["drain", "end", "succeed"])
async def test_a_slow_end_is_no_end_of_another_kind(is_slow_at: str) -> None:
    """Beats go on meanwhile, and find a run that has succeeded: nobody has taken its place."""
    register = Register(slow=is_slow_at == "succeed")
    client = Client(register, is_slow_at)
    await downloaded(register, client)
    assert (client.is_complete, register.ended) == (True, [])


async def test_it_succeeds_once_all_is_with_the_client() -> None:
    register = Register()
    client = Client(register, "drain")
    await downloaded(register, client)
    assert (client.succeeded_at[-2:], client.messages[-2]["body"]) == ([False, True], b"")


async def test_a_client_that_leaves_the_end_unread_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", BEAT_SECONDS)
    register = Register()
    client = Client(register, "drain")
    await downloaded(register, client)
    assert (client.aborted, register.succeeded, register.ended) == (True, False, ["CLIENT_STALLED"])
