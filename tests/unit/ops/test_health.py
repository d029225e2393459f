"""Health: what is missing is named, asking is cheap, and the inside is for the operator."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry

from ops import health
from ops.clock import SystemClock
from ops.health import Health
from ops.metrics import Metrics
from ops.settings import Settings

TOKEN, PREVIOUS = "tOken-of-the-operator-0123456789", "pRevious-token-operator-98765432"


class Parts:
    """A part that can be taken away, and counts how often it is asked."""

    def __init__(self) -> None:
        self.here = True
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        if not self.here:
            raise ConnectionRefusedError


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def client(parts: Parts) -> httpx.AsyncClient:
    settings = Settings(
        api_key_secret="aB3-key-secret-for-these-tests-0",
        cursor_secret="cD4-cursor-secret-for-the-tests-",
        idempotency_secret="eE5-content-secret-for-the-tests",
        webhook_secret_encryption_key="0f1e2d3c4b5a6978" * 4,
        archive_key="8796a5b4c3d2e1f0" * 4,
        internal_token=TOKEN,
        internal_token_previous=PREVIOUS,
    )
    app = health.create_app(settings, Health("worker", {"postgres.eu": parts.check}, SystemClock()), Metrics(CollectorRegistry()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_alive_asks_nobody(client: httpx.AsyncClient, parts: Parts) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
    assert parts.asked == 0


async def test_ready_when_all_parts_answer(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def test_not_ready_names_what_is_missing(client: httpx.AsyncClient, parts: Parts) -> None:
    parts.here = False
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "missing": ["postgres.eu"]})
    assert answer.headers["retry-after"]


async def test_parts_are_asked_once_a_second_however_often_we_are(client: httpx.AsyncClient, parts: Parts) -> None:
    for _ in range(5):
        await client.get("/ready")
    assert parts.asked == 1


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
@pytest.mark.parametrize("path", ["/internal/health", "/internal/metrics"])
async def test_the_inside_needs_the_token(client: httpx.AsyncClient, path: str, token: str) -> None:
    answer = await client.get(path, headers=[(b"x-internal-token", token.encode("latin-1"))])
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("token", [TOKEN, PREVIOUS])
async def test_internal_health_says_how_it_is_doing(client: httpx.AsyncClient, parts: Parts, token: str) -> None:
    parts.here = False
    report = (await client.get("/internal/health", headers={"x-internal-token": token})).json()
    assert report.keys() == {"status", "uptime", "timestamp", "service", "missing", "notices"}
    assert (report["status"], report["service"], report["missing"]) == ("degraded", "worker", ["postgres.eu"])


async def test_metrics_come_as_prometheus_text_or_json(client: httpx.AsyncClient) -> None:
    text = await client.get("/internal/metrics", headers={"x-internal-token": TOKEN})
    assert text.headers["content-type"].startswith("text/plain")
    assert "# HELP hyrelog_ingest_accepted_events_total How many events were accepted?" in text.text
    families = await client.get("/internal/metrics", headers={"x-internal-token": TOKEN, "accept": "application/json"})
    assert "hyrelog_streams_parked" in {family["name"] for family in families.json()}
