"""A keyed request may be sent again, to any ingest process, at any time: one event is stored, and every answer leads to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from signal import SIGCONT, SIGSTOP
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry

from ingest.app import create_app
from ops.db import use_micros
from ops.local.environment import Role
from schemas.event import format_time
from schemas.topics import Region
from tests.support.doors import bearer, ingest
from tests.support.keyed import DAY_MICROS, NO_CHAIN, NO_CLAIMS, NO_EVENTS, PATIENCE, Database, Writer, held, now_micros
from tests.support.posting import LEAST, WAIT
from tests.support.serving import served
from tests.support.stack import LocalStack

OTHER = LEAST | {"action": "logout"}
US: dict[str, Any] = {"regions": (Region.US,)}


@pytest.fixture
async def database(stack: LocalStack) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(stack.superuser_url())
    await use_micros(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def doors(stack: LocalStack) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two ingest processes."""
    async with ingest(stack, **US) as one, ingest(stack, **US) as two:
        yield one, two


@pytest.fixture
async def door(stack: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    async with ingest(stack, **US) as door:
        yield door


@pytest.fixture
async def gateway(stack: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.base_url, verify=False) as client:
        yield client


@pytest.fixture
def writer(stack: LocalStack, database: Database) -> Writer:
    return Writer(stack, database)


def seen(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["id"]


def entries(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == len(answer.json()["events"])
    return [(event["id"], event["status"]) for event in answer.json()["events"]]


async def test_a_replay_is_answered_with_the_whole_first_event(writer: Writer, door: httpx.AsyncClient) -> None:
    first = await writer.post(door, "k", LEAST | {"metadata": {"n": 1}}, prefer=WAIT)
    assert first.status_code == 201
    for event in (LEAST | {"metadata": {"n": 1.0}}, LEAST | {"metadata": {"n": 1}, "idempotencyKey": "k"}):
        for headers in ({}, {"prefer": WAIT}):
            replay = await writer.post(door, "k", event, user_agent="another/1.0", **headers)
            assert (replay.status_code, replay.content) == (200, first.content)
            assert "preference-applied" not in replay.headers
    assert await writer.fates() == {first.json()["id"]: first.json()["id"]}


async def test_a_repeat_while_the_first_is_on_its_way_is_answered_with_its_id(
    stack: LocalStack, writer: Writer, doors: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    async with held(stack, NO_CHAIN):
        first, again = [await writer.post(door, "k") for door in doors]
        waiting = [asyncio.create_task(writer.post(door, "k", prefer=WAIT)) for door in doors]
        assert first.status_code == again.status_code == 202
        assert first.json() == again.json()
        await asyncio.sleep(0.2)
    answers = await asyncio.gather(*waiting)
    assert {seen(answer) for answer in answers} == {(200, first.json()["id"])}
    assert {answer.headers["preference-applied"] for answer in answers} == {WAIT}
    assert await writer.fates() == {first.json()["id"]: first.json()["id"]}


@pytest.mark.parametrize("stored", [True, False])
async def test_other_content_is_refused(writer: Writer, door: httpx.AsyncClient, stored: bool) -> None:
    first = await writer.post(door, "k", prefer=WAIT if stored else "")
    conflict = await writer.post(door, "k", OTHER)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert conflict.json()["details"] == [{"field": "idempotencyKey", "message": "was used before, for an event with other content"}]
    assert (await writer.post(door, "another", OTHER, prefer=WAIT)).status_code == 201
    assert len(await writer.fates(first.json()["id"])) == 2


async def test_a_key_is_its_workspaces_own(stack: LocalStack, database: Database, door: httpx.AsyncClient) -> None:
    answers = [await Writer(stack, database).post(door, "k", event, prefer=WAIT) for event in (LEAST, OTHER)]
    assert [answer.status_code for answer in answers] == [201, 201]


async def test_racing_requests_store_one_event(writer: Writer, doors: tuple[httpx.AsyncClient, httpx.AsyncClient]) -> None:
    answers = await asyncio.gather(*(writer.post(door, f"k {number % 3}") for number in range(30) for door in doors))
    ids = {answer.json()["id"] for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 202}
    fates = await writer.fates(*ids)
    assert ids <= fates.keys()  # each leads to an event, though a claim may have taken too long and become an alias
    assert len(set(fates.values())) == 3


async def test_a_key_outlives_the_processes(stack: LocalStack, writer: Writer) -> None:
    async with held(stack, NO_CHAIN):
        ids = []
        for _ in range(3):
            async with ingest(stack, **US) as door:
                ids.append((await writer.post(door, "k")).json()["id"])
    assert len(set(ids)) == 1
    assert await writer.fates(*ids) == {ids[0]: ids[0]}
    async with ingest(stack, **US) as door:
        assert seen(await writer.post(door, "k")) == (200, ids[0])


async def test_within_a_batch_a_key_stands_for_its_first_event(writer: Writer, door: httpx.AsyncClient) -> None:
    keyed = {"idempotencyKey": "k"}
    batch = entries(await writer.post_all(door, {}, keyed, {"action": "x"}, keyed, {}, {"idempotencyKey": "l"}))
    assert [status for _, status in batch] == ["ACCEPTED", "ACCEPTED", "ACCEPTED", "REPLAYED", "ACCEPTED", "ACCEPTED"]
    assert batch[3][0] == batch[1][0]
    ids = {event_id for event_id, _ in batch}
    assert await writer.fates(*ids) == {event_id: event_id for event_id in ids}
    assert len(ids) == 5


async def test_a_batch_of_replays_is_answered_in_order_and_stores_nothing(writer: Writer, door: httpx.AsyncClient) -> None:
    first = [(await writer.post(door, key, prefer=WAIT)).json()["id"] for key in ("a", "b")]
    keys = ("b", "a", "b")
    replayed = entries(await writer.post_all(door, *({"idempotencyKey": key} for key in keys)))
    assert replayed == [(first[1], "REPLAYED"), (first[0], "REPLAYED"), (first[1], "REPLAYED")]
    mixed = entries(await writer.post_all(door, {"idempotencyKey": "a"}, {"idempotencyKey": "c"}, {}))
    assert [status for _, status in mixed] == ["REPLAYED", "ACCEPTED", "ACCEPTED"]
    assert len(await writer.fates(*(event_id for event_id, _ in mixed))) == 4


async def test_a_batch_sent_again_is_one_batch(
    stack: LocalStack, writer: Writer, doors: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    events = [{"idempotencyKey": f"k {number}"} for number in range(40)]
    async with held(stack, NO_CHAIN):
        first, again = await asyncio.gather(writer.post_all(doors[0], *events), writer.post_all(doors[1], *reversed(events)))
    assert entries(first) == entries(again)[::-1]
    ids = {event_id for event_id, _ in entries(first)}
    assert await writer.fates(*ids) == {event_id: event_id for event_id in ids}
    assert len(ids) == 40


async def test_a_batch_with_a_conflict_is_refused_whole_and_leaves_no_claim(writer: Writer, door: httpx.AsyncClient) -> None:
    first = await writer.post(door, "used", prefer=WAIT)
    conflict = await writer.post_all(door, {"idempotencyKey": "new"}, {}, {"idempotencyKey": "used", "action": "logout"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    message = "was used before, for an event with other content"
    assert conflict.json()["details"] == [{"index": 2, "field": "idempotencyKey", "message": message}]
    assert await writer.claimed() == {"used"}
    assert (await writer.post(door, "new", OTHER, prefer=WAIT)).status_code == 201
    assert len(await writer.fates(first.json()["id"])) == 2


async def test_within_a_batch_other_content_is_refused(writer: Writer, door: httpx.AsyncClient) -> None:
    conflict = await writer.post_all(door, {"idempotencyKey": "k"}, {"idempotencyKey": "k", "outcome": "FAILURE"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert [(detail["index"], detail["field"]) for detail in conflict.json()["details"]] == [(1, "idempotencyKey")]
    assert await writer.claimed() == set()


async def test_a_batch_that_waits_for_its_claims_keeps_no_other_out(stack: LocalStack, writer: Writer, door: httpx.AsyncClient) -> None:
    """On a busy machine it may be late all the same: once in a few times it has to come first."""
    await writer.post(door, None, prefer=WAIT)
    for attempt in range(5):
        async with held(stack, NO_CLAIMS):
            keyed = asyncio.create_task(writer.post_all(door, {"idempotencyKey": f"k {attempt}"}))
            await asyncio.sleep(0.02)
            plain = await writer.post_all(door, {})
            was_first = not keyed.done()
            assert plain.status_code == (await keyed).status_code == 202
        if was_first:
            return
        await asyncio.sleep(1)  # until claims are asked for again
    pytest.fail("it always waited")


async def test_a_refused_request_leaves_no_claim(stack: LocalStack, writer: Writer, door: httpx.AsyncClient) -> None:
    unknown = LEAST | {"projectId": "0190a000-0000-7000-8000-00000000000c"}
    assert (await writer.post(door, "k", unknown)).status_code == 400
    assert (await writer.post(door, "k", {"category": "auth"})).status_code == 400
    assert (await writer.post_all(door, {"idempotencyKey": "k"}, unknown)).status_code == 400
    nowhere = stack.settings(Role.INGEST).model_copy(update=US | {"kafka_bootstrap": "127.0.0.1:9", "kafka_bootstrap_us": None})
    async with served(create_app(nowhere, registry=CollectorRegistry())) as cut_off:
        assert (await writer.post(cut_off, "k")).status_code == 503
        assert (await writer.post_all(cut_off, {"idempotencyKey": "k"}, {"idempotencyKey": "l"})).status_code == 503
    assert await writer.claimed() == set()


async def test_a_503_whose_event_was_stored_after_all_may_be_sent_again(stack: LocalStack, writer: Writer) -> None:
    async with ingest(stack, **US, ingest_ack_timeout_seconds=0.3) as door:
        await writer.post(door, None)
        kafka = psutil.Process(stack.parts.pid("kafka"))
        kafka.send_signal(SIGSTOP)
        try:
            assert (await writer.post(door, "k")).status_code == 503
        finally:
            kafka.send_signal(SIGCONT)
        (claimed,) = await writer.claimed()
        async with asyncio.timeout(PATIENCE):
            while (again := await writer.post(door, "k")).status_code == 503:
                await asyncio.sleep(0.1)
    fates = await writer.fates(again.json()["id"])
    assert claimed == "k"
    assert len(fates) == 2
    assert all(event_id == fate for event_id, fate in fates.items())


async def test_while_postgres_is_away_keyed_events_are_accepted_and_settled_later(
    stack: LocalStack, writer: Writer, doors: tuple[httpx.AsyncClient, httpx.AsyncClient], gateway: httpx.AsyncClient
) -> None:
    for door in doors:
        await writer.post(door, None)  # so that the key is known
    async with held(stack, NO_CLAIMS):
        posted = [await writer.post(door, "k", event) for door, event in zip(doors * 2, (LEAST, LEAST, OTHER, LEAST), strict=True)]
    first, repeat, conflict, last = (answer.json()["id"] for answer in posted)
    assert {answer.status_code for answer in posted} == {202}
    fates = await writer.fates(first, repeat, conflict, last)
    assert [fates[each] for each in (first, repeat, conflict, last)] == [first, first, "IDEMPOTENCY_CONFLICT", first]
    found = [await gateway.get(f"/v1/events/{each}", headers=bearer(writer.key)) for each in (first, repeat, conflict)]
    assert found[0].json()["id"] == found[1].json()["id"] == first
    assert (found[2].json()["status"], found[2].json()["reason"]) == ("REJECTED", "IDEMPOTENCY_CONFLICT")
    async with asyncio.timeout(PATIENCE):  # until it asks again
        while (replay := await writer.post(doors[0], "k")).status_code != 200:
            await asyncio.sleep(0.1)
    assert replay.json()["id"] == first


async def test_a_replay_whose_event_cannot_be_read_just_now_is_told_its_id_and_not_published(
    stack: LocalStack, writer: Writer, door: httpx.AsyncClient
) -> None:
    first = (await writer.post(door, "k", prefer=WAIT)).json()
    async with held(stack, NO_EVENTS):
        replay = await writer.post(door, "k")
    millisecond = slice(len("2026-01-31T09:30:00.000"))
    assert seen(replay) == (202, first["id"])
    assert replay.json()["receivedAt"][millisecond] == first["receivedAt"][millisecond]
    last = (await writer.post(door, None, prefer=WAIT)).json()["id"]
    assert await writer.fates(last) == {each: each for each in (first["id"], last)}


async def test_who_waits_is_told_what_the_worker_decided(stack: LocalStack, writer: Writer, door: httpx.AsyncClient) -> None:
    first = (await writer.post(door, "k", prefer=WAIT)).json()["id"]
    async with held(stack, NO_CLAIMS):
        repeat = await writer.post(door, "k", prefer=WAIT)
        conflict = await writer.post(door, "k", OTHER, prefer=WAIT)
        told_nothing = await writer.post(door, "k", OTHER)
    assert (seen(repeat), repeat.headers["preference-applied"]) == ((200, first), WAIT)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert told_nothing.status_code == 202


async def test_a_claimer_that_died_before_publishing_is_taken_over_from(writer: Writer, door: httpx.AsyncClient) -> None:
    received = now_micros() - 5_000_000
    proposed = await writer.claim("k", received_at=received)
    again = await writer.post(door, "k")
    assert again.json() == {"id": proposed, "status": "ACCEPTED", "receivedAt": format_time(received)}
    assert await writer.fates(proposed) == {proposed: proposed}
    stored = (await writer.post(door, "k")).json()
    assert (stored["receivedAt"], stored["timestamp"]) == (format_time(received), format_time(received))
    batch = entries(await writer.post_all(door, {"idempotencyKey": "k"}))
    assert batch == [(proposed, "REPLAYED")]


async def test_racers_across_midnight_store_one_event(stack: LocalStack, writer: Writer, door: httpx.AsyncClient) -> None:
    """One was received just before, and claimed; the other one just after, and could not see that."""
    midnight = now_micros() // DAY_MICROS * DAY_MICROS
    await writer.post(door, None, prefer=WAIT)
    async with held(stack, NO_CHAIN):
        async with held(stack, NO_CLAIMS):
            today = (await writer.post(door, "k")).json()["id"]
        yesterday = await writer.claim("k", received_at=midnight - 1)
        async with asyncio.timeout(4):
            while (answer := await writer.post(door, "k")).json()["id"] != yesterday:
                await asyncio.sleep(0.1)
        assert answer.json()["receivedAt"] == format_time(midnight - 1)
    fates = await writer.fates(today, yesterday)
    assert (fates[today], fates[yesterday]) == (today, today)


@pytest.mark.parametrize("published", [True, False])
async def test_a_claim_and_a_retry_under_another_id_lead_to_one_event(
    stack: LocalStack, writer: Writer, door: httpx.AsyncClient, published: bool
) -> None:
    await writer.post(door, None, prefer=WAIT)
    claimed = (await writer.post(door, "k")).json()["id"] if published else await writer.claim("k")
    async with held(stack, NO_CLAIMS):
        retried = (await writer.post(door, "k")).json()["id"]
    first = claimed if published else retried
    fates = await writer.fates(retried)
    assert fates[retried] == first
    assert fates.get(claimed) == (first if published else None)
    async with asyncio.timeout(PATIENCE):
        while (replay := await writer.post(door, "k")).status_code != 200:
            await asyncio.sleep(0.1)
    assert replay.json()["id"] == first
    assert (await writer.fates()).keys() >= {first}


async def test_an_event_limit_counts_replays_and_refused_batches_but_no_single_conflicts(
    stack: LocalStack, database: Database, door: httpx.AsyncClient
) -> None:
    tenant = stack.tenant(overrides={"requestsPerMinute": None, "eventsPerMinute": 50})
    writer = Writer(stack, database)
    writer.key = tenant.workspaces[0].key

    async def left(answer: httpx.Response) -> int:
        return int(answer.headers["x-ratelimit-remaining"])

    assert await left(await writer.post(door, "k", prefer=WAIT)) == 49
    assert await left(await writer.post(door, "k")) == 48
    assert await left(await writer.post(door, "k", OTHER)) == 48
    assert await left(await writer.post_all(door, {"idempotencyKey": "new"}, {"idempotencyKey": "k", "action": "logout"})) == 46


async def test_the_metrics_tell_of_replays_and_conflicts(stack: LocalStack, writer: Writer) -> None:
    registry = CollectorRegistry()
    settings = stack.settings(Role.INGEST).model_copy(update=US)
    async with AsyncExitStack() as exits:
        door = await exits.enter_async_context(served(create_app(settings, registry=registry)))
        async with asyncio.timeout(PATIENCE):
            while (await writer.post(door, "k", prefer=WAIT)).status_code not in (200, 201):
                await asyncio.sleep(0.1)
        await writer.post(door, "k")
        await writer.post(door, "k", OTHER)
        await writer.post_all(door, {"idempotencyKey": "k"}, {})

        def value(name: str) -> float:
            return registry.get_sample_value(name, {"region": "US"}) or 0

        assert value("hyrelog_ingest_replayed_events_total") == 2
        assert value("hyrelog_ingest_idempotency_conflicts_total") == 1
        assert value("hyrelog_ingest_accepted_events_total") == 2
        assert value("hyrelog_ingest_claim_seconds_count") >= 4
