"""Good requests: what was answered is what is stored, in the order in which it was sent."""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
import rfc8785
import zstandard

from tests.support.posting import BATCH, LEAST, SINGLE, WAIT, Producer
from tests.support.stack import LocalStack

TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
GOOD = orjson.dumps(LEAST)
NDJSON = "application/x-ndjson"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.base_url, timeout=60, verify=False) as client:
        yield client


@pytest.fixture
def producer(stack: LocalStack, client: httpx.Client) -> Producer:
    return Producer(stack, client)


def unsized(data: bytes) -> bytes:
    """A zstd frame that does not say its size."""
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return packer.compress(data) + packer.flush()


def wait_for(producer: Producer, count: int) -> list[Any]:
    """The workspace's events in seq order, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        events: list[Any] = producer.get("/v1/events", limit="200")["data"]
        if len(events) >= count:
            return sorted(events, key=lambda event: int(event["seq"]))
        assert time.monotonic() < deadline, f"{len(events)} of {count} events are stored"
        time.sleep(0.05)


def test_an_accepted_event_is_answered_202(producer: Producer) -> None:
    answer = producer.post(LEAST)
    body = answer.json()
    assert answer.status_code == 202
    assert list(body) == ["id", "status", "receivedAt"]
    assert body["status"] == "ACCEPTED"
    assert UUID(body["id"]).version == 7
    assert TIME.fullmatch(body["receivedAt"])
    assert answer.headers["content-type"] == "application/json"
    assert "preference-applied" not in answer.headers
    (event,) = wait_for(producer, 1)
    assert (event["id"], event["receivedAt"], event["timestamp"]) == (body["id"], body["receivedAt"], body["receivedAt"])


def test_a_waiting_request_is_answered_with_the_stored_event(producer: Producer) -> None:
    sent = {
        "timestamp": "2026-01-31T14:59:59.5+05:30",
        "projectId": str(producer.workspace.project_id),
        "tenantId": 'customer "é😀',
        "category": "billing",
        "action": "invoice.pay",
        "outcome": "DENIED",
        "actor": {"id": "u-1", "type": "user", "name": "Ada", "email": "ada@customer.test", "role": "admin", "more": [1, None]},
        "resource": {"type": "invoice", "id": "i-7"},
        "metadata": {"amount": 12.50, "\U0001f600": {"b": 1e-7, "a": -0.0}},
    }
    answer = producer.post(sent, prefer="wait=30", user_agent="tests/1.0")
    event = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=30")
    assert event["timestamp"] == "2026-01-31T09:29:59.500000Z"
    assert {name: event[name] for name in sent if name != "timestamp"} == {name: sent[name] for name in sent if name != "timestamp"}
    assert event["context"] == {"ipAddress": "127.0.0.1", "userAgent": "tests/1.0"}
    assert (event["seq"], event["prevHash"], event["dataRegion"]) == (1, "0" * 64, "US")
    assert (event["companyId"], event["workspaceId"]) == (str(producer.tenant.id), str(producer.workspace.id))
    queried = producer.get(f"/v1/events/{event['id']}")
    verification = queried.pop("verification")
    assert queried == event
    for name in ("actor", "resource", "context", "metadata"):
        preimage = bytes.fromhex(verification["salts"][name]) + rfc8785.dumps(event[name])
        assert sha256(preimage).hexdigest() == verification["commitments"][name]


def test_groups_come_back_byte_for_byte(producer: Producer) -> None:
    metadata = b'{"z":1.0,"a":[1e-7,0.30000000000000004,-0,1E2],"\\u00e9":"\\u002f\\u0041","\\ud83d\\ude00":1,"\\ufb33":2}'
    answer = producer.post(b'{"category":"data","action":"x","metadata":%b}' % metadata, prefer=WAIT)
    assert f'"metadata":{rfc8785.dumps(orjson.loads(metadata)).decode()},"traceId"' in answer.text


def test_absent_null_and_empty_groups_are_told_apart(producer: Producer) -> None:
    event = producer.store({"actor": {}, "resource": None}, user_agent="")
    assert (event["actor"], event["resource"], event["metadata"]) == ({}, None, None)
    commitments = producer.get(f"/v1/events/{event['id']}")["verification"]["commitments"]
    assert [name for name, value in commitments.items() if value is not None] == ["actor", "context"]


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=5", "wait=5"),
        ("wait=100", "wait=30"),
        ('wait="7"', "wait=7"),
        ("respond-async, wait=9", "wait=9"),
        ("return=minimal; wait=4", "wait=4"),
    ],
)
def test_ways_to_ask_for_waiting(producer: Producer, prefer: str, applied: str) -> None:
    answer = producer.post(LEAST, prefer=prefer)
    assert (answer.status_code, answer.headers.get("preference-applied")) == (201, applied)


@pytest.mark.parametrize("prefer", ["wait=0", "wait", "wait=x", "wait=-1", "await=5", "return=representation", ""])
def test_preferences_that_are_not_understood_are_ignored(producer: Producer, prefer: str) -> None:
    """RFC 7240 §2."""
    answer = producer.post(LEAST, prefer=prefer)
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, None)


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": PARENT, "x_trace_id": OTHER}, TRACE),
        ({"traceparent": "garbage", "x_trace_id": OTHER}, OTHER),
        ({"x_trace_id": OTHER}, OTHER),
    ],
)
def test_the_trace_id_comes_from_the_request(producer: Producer, headers: dict[str, str], trace: str) -> None:
    answer = producer.post(LEAST, prefer=WAIT, **headers)
    assert (answer.headers["x-trace-id"], answer.json()["traceId"]) == (trace, trace)
    refused = producer.post(b"{", **headers)
    assert (refused.headers["x-trace-id"], refused.json()["traceId"]) == (trace, trace)


@pytest.mark.parametrize("headers", [{}, {"x_trace_id": OTHER.upper()}, {"traceparent": f"ff-{TRACE}-b7ad6b7169203331-01"}])
def test_else_it_is_made(producer: Producer, headers: dict[str, str]) -> None:
    answer = producer.post(LEAST, prefer=WAIT, **headers)
    trace = answer.headers["x-trace-id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)
    assert trace == answer.json()["traceId"]
    assert trace.lower() not in (TRACE, OTHER)


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
def test_a_batch_is_stored_in_its_order(producer: Producer, kind: str) -> None:
    events = [LEAST | {"action": f"step-{number}", "idempotencyKey": f"{kind} {number}"} for number in range(150)]
    body = b"\n".join(map(orjson.dumps, events)) if kind == NDJSON else orjson.dumps(events)
    answer = producer.post(body, BATCH, content_type=kind)
    accepted = answer.json()
    assert (answer.status_code, accepted["accepted"], list(accepted)) == (202, 150, ["accepted", "events"])
    assert all(each["status"] == "ACCEPTED" and list(each) == ["id", "status"] for each in accepted["events"])
    stored = wait_for(producer, 150)
    assert [event["id"] for event in stored] == [each["id"] for each in accepted["events"]]
    assert [event["action"] for event in stored] == [f"step-{number}" for number in range(150)]
    assert [event["seq"] for event in stored] == list(range(1, 151))
    assert len({event["traceId"] for event in stored}) == 1
    assert [event["prevHash"] for event in stored[1:]] == [event["hash"] for event in stored[:-1]]


def test_one_producers_events_keep_the_order_of_their_answers(producer: Producer) -> None:
    ids = [producer.post(LEAST).json()["id"] for _ in range(40)]
    assert [event["id"] for event in wait_for(producer, 40)] == ids


def test_concurrent_requests_are_each_stored_once(producer: Producer) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: producer.post(LEAST).json()["id"], range(120)))
    stored = wait_for(producer, 120)
    assert sorted(event["id"] for event in stored) == sorted(ids)
    assert [event["seq"] for event in stored] == list(range(1, 121))


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("zstd", unsized), ("identity", bytes)]
)
def test_packed_bodies(producer: Producer, coding: str, pack: Callable[[bytes], bytes]) -> None:
    text = os.urandom(1000).hex()
    event = producer.post(pack(orjson.dumps(LEAST | {"metadata": {"a": text}})), content_encoding=coding, prefer=WAIT).json()
    assert event["metadata"] == {"a": text}
    answer = producer.post(pack(b"[%b,%b]" % (GOOD, GOOD)), BATCH, content_encoding=coding)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)


def padded(size: int) -> bytes:
    """An event of that many bytes in canonical form, incompressible."""
    empty = len(orjson.dumps(LEAST | {"metadata": {"a": ""}}))
    return orjson.dumps(LEAST | {"metadata": {"a": os.urandom(size).hex()[: size - empty]}})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(padded(128 << 10), id="an event of 128 KiB"),
        pytest.param(GOOD + b" " * ((256 << 10) - len(GOOD)), id="a body of 256 KiB"),
        pytest.param(gzip.compress(GOOD + b" " * ((256 << 10) - len(GOOD))), id="256 KiB packed"),
        pytest.param(orjson.dumps({"category": "a" * 64, "action": "A" * 128, "tenantId": "😀" * 128}), id="the longest texts"),
        pytest.param(orjson.dumps(LEAST | {"actor": dict.fromkeys(("id", "type", "email", "role"), "é" * 127 + "a")}), id="255 bytes each"),
        pytest.param(b'{"category":"auth","action":"login","metadata":{"a":%b}}' % (b"[" * 30 + b"]" * 30), id="32 levels"),
        pytest.param(
            b'{"category":"auth","action":"login","metadata":{"a":[9007199254740991,-9007199254740991.0]}}', id="the largest numbers"
        ),
        pytest.param(orjson.dumps(LEAST | {"idempotencyKey": "~" * 255}), id="a key of 255 characters"),
        pytest.param(orjson.dumps(LEAST | {"timestamp": "0001-01-01T00:00:00Z"}), id="the earliest time"),
        pytest.param(b'{"category":"auth","action":"login","metadata":{"a":{"k":1},"b":{"k":1}}}', id="equal keys in two objects"),
    ],
)
def test_what_lies_at_a_limit_is_stored(producer: Producer, body: bytes) -> None:
    coding = "gzip" if body[:2] == b"\x1f\x8b" else None
    answer = producer.post(body, prefer=WAIT, content_encoding=coding)
    assert answer.status_code == 201, answer.text
    plain = orjson.loads(gzip.decompress(body) if coding else body)
    shown = answer.json()
    assert {name: shown[name] for name in ("category", "action")} == {name: plain[name] for name in ("category", "action")}
    assert shown["metadata"] == plain.get("metadata")


def test_a_batch_of_1000_events_and_5_mib_is_stored_whole(producer: Producer) -> None:
    """Incompressible, so that Kafka's limits are met as well."""
    empty = len(orjson.dumps(LEAST | {"metadata": {"a": ""}}))
    room = ((5 << 20) - 2) // 1000 - 1 - empty
    events = [orjson.dumps(LEAST | {"metadata": {"a": os.urandom(room).hex()[:room]}}) for _ in range(1000)]
    body = b"[%b]" % b",".join(events)
    answer = producer.post(body + b" " * ((5 << 20) - len(body)), BATCH)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1000)
    assert producer.store()["seq"] == 1001


def test_a_day_ahead_is_accepted(producer: Producer) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=24) - timedelta(seconds=5)).isoformat()
    assert producer.post(LEAST | {"timestamp": ahead}).status_code == 202


def test_the_same_key_in_header_and_body_is_one_key(producer: Producer) -> None:
    answer = producer.post(LEAST | {"idempotencyKey": "order 1"}, idempotency_key="order 1")
    assert answer.status_code == 202


def test_user_agents_are_cut_and_need_not_be_utf_8(producer: Producer) -> None:
    event = producer.post(LEAST, prefer=WAIT, user_agent=b"caf\xe9 " + b"x" * 1000).json()
    assert event["context"]["userAgent"] == "caf\u00e9 " + "x" * 507


def test_content_types_may_name_the_charset(producer: Producer) -> None:
    assert producer.post(LEAST, content_type='Application/JSON; charset="UTF-8"').status_code == 202


@pytest.mark.parametrize("path", [SINGLE, BATCH])
def test_other_methods_are_not_allowed(producer: Producer, path: str) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = producer.client.request(method, path, headers={"Authorization": f"Bearer {producer.workspace.key}"})
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED"), (method, path)
