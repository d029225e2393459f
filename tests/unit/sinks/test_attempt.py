"""What an attempt that this process could not make is to the delivery, and to whoever asks how the process is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from ops.egress import Answer, Egress, OutOfResources
from ops.metrics import Metrics
from ops.sealing import Sealer
from ops.settings import Settings
from schemas.topics import Region
from schemas.webhooks import Failure, Filters, Kind, State, make_secret
from sinks.webhooks.attempt import Sender
from sinks.webhooks.gauge import WebhookMetrics
from sinks.webhooks.model import MAX_ATTEMPTS, Delivery, Endpoint
from tests.support.keys import FakeClock

DELIVERY_ID = "01920000-0000-7000-8000-000000000000"
KEYS = [os.urandom(32) for _ in range(2)]


class Asked:
    """The way out, on a machine that has nothing left, or where all is well."""

    def __init__(self, *, has_files: bool = True) -> None:
        self._has_files = has_files

    async def post(self, _url: str, _body: bytes, _headers: Mapping[str, str], _timeout: float) -> Answer:
        if not self._has_files:
            raise OutOfResources
        return Answer(204, None)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def _sender(registry: CollectorRegistry, asked: Asked) -> Sender:
    named = ("api_key_secret", "internal_token", "cursor_secret", "idempotency_secret")
    wanted: dict[str, object] = {name: os.urandom(32).hex() for name in named}
    wanted |= {"archive_key": os.urandom(32).hex(), "webhook_secret_encryption_key": KEYS[0].hex(), "webhook_retry_seconds": (60.0, 300.0)}
    settings = Settings.model_validate(wanted)
    metrics = WebhookMetrics(Metrics(registry), Region.US)
    return Sender(settings, cast(Egress, asked), clock=FakeClock(), tracer=None, metrics=metrics)


def _endpoint(name: str, key: bytes) -> Endpoint:
    secret = Sealer([key]).seal(make_secret(os.urandom(32)).encode(), name)
    return Endpoint(name, "company", "workspace", None, "https://a.example/", (), Filters(), 1, True, False, False, secret, None)


def _test(endpoint: Endpoint, attempt: int = 1) -> Delivery:
    return Delivery(endpoint.id, DELIVERY_ID, Kind.TEST, attempt, 0, None, 0.0)


def _retries(registry: CollectorRegistry, error: str) -> float:
    return registry.get_sample_value("hyrelog_webhook_retries_total", {"region": "US", "error": error}) or 0.0


async def test_a_machine_that_has_no_files_left_makes_no_attempt(registry: CollectorRegistry) -> None:
    """Nothing was sent: neither the endpoint nor the delivery has failed, and there is nothing to record."""
    endpoint = _endpoint("hook", KEYS[0])
    assert await _sender(registry, Asked(has_files=False)).attempt(endpoint, _test(endpoint)) is None
    assert _retries(registry, "OutOfResources") == 1


@pytest.mark.parametrize(
    ("attempt", "state", "pause"), [(1, State.RETRYING, 60), (5, State.RETRYING, 300), (MAX_ATTEMPTS, State.FAILED, None)]
)
async def test_under_the_wrong_key_no_delivery_fails_for_days(
    registry: CollectorRegistry, attempt: int, state: State, pause: float | None
) -> None:
    endpoint = _endpoint("hook", KEYS[1])
    result = await _sender(registry, Asked()).attempt(endpoint, _test(endpoint, attempt))
    assert result is not None
    assert (result.state, result.pause, result.failures, result.error) == (state, pause, 0, Failure.INTERRUPTED)
    assert _retries(registry, "Unsealable") == 1


async def test_the_process_is_told_to_have_the_wrong_key_until_a_secret_opens(registry: CollectorRegistry) -> None:
    sender = _sender(registry, Asked())
    seen = []
    for endpoint in (_endpoint("hook-1", KEYS[1]), _endpoint("hook-2", KEYS[0])):
        await sender.attempt(endpoint, _test(endpoint))
        seen.append(sender.is_keyless)
    assert seen == [True, False]
