"""The dispatcher: who gets which request, and the lifespans of both apps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from ops.local.gateway import Dispatcher, Mounted
from ops.serve import App, Message, Receive, Scope, Send


class Toy:
    """An app that answers with its name and remembers its lifespan."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.seen: list[str] = []
        self._fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{self.name} {scope['state']['made_by']}".encode()})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        for step in ("startup", "shutdown"):
            message: Message = await receive()
            self.seen.append(message["type"])
            if self._fails:
                await send({"type": f"lifespan.{step}.failed", "message": f"{self.name} has no database"})
                return
            scope["state"]["made_by"] = self.name
            await send({"type": f"lifespan.{step}.complete"})


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    dispatcher = Dispatcher(Toy("ingest"), Toy("api"))
    async with Mounted(dispatcher).running(), httpx.AsyncClient(transport=httpx.ASGITransport(dispatcher), base_url="http://toy") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "served_by"),
    [
        ("POST", "/v1/events", "ingest"),
        ("POST", "/v1/events/batch", "ingest"),
        ("GET", "/v1/events", "api"),
        ("GET", "/v1/events/batch", "api"),
        ("POST", "/v1/events/", "api"),
        ("POST", "/v1/exports", "api"),
        ("GET", "/", "api"),
    ],
)
async def test_only_posted_events_go_to_ingest(client: httpx.AsyncClient, method: str, path: str, served_by: str) -> None:
    """Each app also gets the state of its own lifespan, never the other's."""
    answer = await client.request(method, path)
    assert answer.text == f"{served_by} {served_by}"


async def test_both_apps_are_started_and_stopped() -> None:
    ingest, api = Toy("ingest"), Toy("api")
    async with Mounted(Dispatcher(ingest, api)).running():
        assert ingest.seen == api.seen == ["lifespan.startup"]
    assert ingest.seen == api.seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_an_app_that_refuses_to_start_stops_the_gateway() -> None:
    """The first app is shut down again, and the reason is the app's own."""
    ingest = Toy("ingest")
    gateway: App = Dispatcher(ingest, Toy("api", fails=True))
    with pytest.raises(ExceptionGroup) as raised:
        async with Mounted(gateway).running():
            pytest.fail("the gateway started")
    assert "api has no database" in str(_leaf(raised.value))


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Missing:
    """An app that says of itself what it misses."""

    def __init__(self, *missing: str) -> None:
        self._missing = list(missing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = json.dumps({"status": "unavailable", "missing": self._missing} if self._missing else {"status": "ready"}).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 503 if self._missing else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("ingest", "api", "status", "answer"),
    [
        (Missing(), Missing(), 200, {"status": "ready"}),
        (Missing("kafka US"), Missing(), 503, {"status": "unavailable", "missing": ["kafka US"]}),
        (Missing(), Missing("postgres.us"), 503, {"status": "unavailable", "missing": ["postgres.us"]}),
        (Missing("kafka US"), Missing("postgres.us"), 503, {"status": "unavailable", "missing": ["postgres.us", "kafka US"]}),
    ],
)
async def test_ready_names_what_either_app_misses(ingest: Missing, api: Missing, status: int, answer: object) -> None:
    transport = httpx.ASGITransport(Dispatcher(ingest, api))
    async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
        found = await client.get("/ready")
    assert (found.status_code, found.json()) == (status, answer)


async def test_internal_health_tells_what_either_app_notes_once() -> None:
    def noting(*notices: str) -> App:
        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            body = json.dumps({"status": "ok", "missing": [], "notices": notices}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return app

    transport = httpx.ASGITransport(Dispatcher(noting("alone", "slow"), noting("alone")))
    async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
        found = await client.get("/internal/health")
    assert found.json() == {"status": "ok", "missing": [], "notices": ["alone", "slow"]}
