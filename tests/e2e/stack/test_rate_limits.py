"""Rate limits over HTTP: on every answer but the open ones, by plan and override, for keys, companies and addresses."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from tests.support.doors import api, bearer, ingest
from tests.support.posting import BATCH, LEAST, SINGLE
from tests.support.stack import LocalStack

OPEN = ("/health", "/ready", "/internal/health", "/internal/metrics", "/internal/nothing")


def told(answer: httpx.Response) -> tuple[int, int]:
    """Limit and remaining; the reset must be the end of a minute, and soon."""
    reset = answer.headers["x-ratelimit-reset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000000Z", reset)
    assert timedelta() < datetime.fromisoformat(reset) - datetime.now(UTC) + timedelta(seconds=2) <= timedelta(seconds=62)
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


async def test_each_plan_has_1200_requests_a_minute_and_an_override_changes_it(stack: LocalStack) -> None:
    plain, raised = stack.tenant(overrides={}), stack.tenant(overrides={"requestsPerMinute": 5000})
    async with api(stack) as client:
        assert told(await client.get("/v1/events", headers=bearer(plain.key))) == (1200, 1199)
        assert told(await client.get("/v1/events", headers=bearer(raised.key))) == (5000, 4999)


async def test_over_its_limit_a_key_is_told_when_to_come_back(stack: LocalStack) -> None:
    tenant = stack.tenant(overrides={"requestsPerMinute": 2, "eventsPerMinute": None})
    key = bearer(tenant.workspaces[0].key)
    async with ingest(stack) as client:
        answers = [await client.post(SINGLE, json=LEAST, headers=key) for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 1  # a new minute may begin in between, and lets two more in
    assert {answer.json()["code"] for answer in refused} == {"RATE_LIMITED"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 and told(answer) == (2, 0) for answer in refused)


async def test_a_batch_counts_all_its_events_and_is_refused_whole(stack: LocalStack) -> None:
    tenant = stack.tenant(overrides={"requestsPerMinute": None, "eventsPerMinute": 10})
    key = bearer(tenant.workspaces[0].key)
    async with ingest(stack) as client:
        assert told(await client.post(BATCH, json=[LEAST] * 8, headers=key)) == (10, 2)
        answers = [await client.post(BATCH, json=[LEAST] * 8, headers=key) for _ in range(3)]
        assert {answer.status_code for answer in answers} >= {429}
        assert (await client.post(BATCH, json=[LEAST] * 11, headers=key)).json()["code"] == "RATE_LIMITED"


async def test_every_answer_but_the_open_ones_tells_its_limit(stack: LocalStack) -> None:
    tenant = stack.tenant(overrides={})
    good, bad = bearer(tenant.workspaces[0].key), bearer("hlk_us_ws_" + "0" * 48)
    async with api(stack, ip_requests_per_minute=600) as reading, ingest(stack, ip_requests_per_minute=600) as writing:
        for path in ("/v1/events", "/v1/nothing", "/openapi.json", "/docs", "/v1/schemas/0000000000000000"):
            for headers, limit in ((good, 1200), (bad, 600), ({}, 600)):
                assert told(await reading.get(path, headers=headers))[0] == limit
        for method, path in (("POST", SINGLE), ("POST", BATCH), ("GET", SINGLE), ("GET", "/v1/nothing")):
            for headers, limit in ((good, 1200), (bad, 600), ({}, 600)):
                assert told(await writing.request(method, path, headers=headers))[0] == limit
        for client in (reading, writing):
            for path in OPEN:
                answer = await client.get(path, headers={"x-internal-token": stack.internal_token})
                assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        assert not [name for name in (await reading.get("/")).headers if name.startswith("x-ratelimit")]


async def test_an_address_may_fail_so_often_and_keys_from_there_stay_good(stack: LocalStack) -> None:
    tenant = stack.tenant()
    async with api(stack, ip_requests_per_minute=3) as client:
        assert (await client.get("/v1/events", headers=bearer(tenant.key))).status_code == 200
        statuses = [(await client.get("/v1/events")).status_code for _ in range(9)]
        assert statuses[:3] == [401] * 3
        assert 429 in statuses
        assert (await client.get("/docs")).status_code == 429
        assert (await client.get("/v1/events", headers=bearer(tenant.key))).status_code == 200
        assert (await client.get("/health")).status_code == 200


async def test_the_limit_of_addresses_can_be_off(stack: LocalStack) -> None:
    async with api(stack, ip_requests_per_minute=0) as client:
        assert told(await client.get("/v1/events")) == (1_000_000_000, 1_000_000_000)


@pytest.mark.parametrize("app", [api, ingest])
async def test_a_second_process_without_a_shared_store_is_told_to_the_operator(stack: LocalStack, app: type) -> None:
    other = await asyncpg.connect(stack.superuser_url(), server_settings={"application_name": "hyrelog-api another"})
    async with app(stack) as client, asyncio.timeout(10):
        while not await notices(client, stack):
            await asyncio.sleep(0.02)
        assert "RATE_LIMIT_STORE_URL" in (await notices(client, stack))[0]
    await other.close()


async def notices(client: httpx.AsyncClient, stack: LocalStack) -> list[str]:
    health = await client.get("/internal/health", headers={"x-internal-token": stack.internal_token})
    told_there: list[str] = health.json()["notices"]
    return told_there
