"""ops/docs/asyncapi.yaml: valid, as topics and schemas are, and true of the records that lie on the topics."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import httpx
import jsonschema
import pytest
import yaml

from ops.kafka import ConsumerRecord, check_topics, producer, read_topic
from ops.local.environment import Role
from ops.local.process import wait_for
from ops.local.state import DEFAULT_PORTS
from schemas.codec import AUDIT_EVENT, HEADER_BYTES, MAGIC, REJECTED_EVENT, schema_fingerprint
from schemas.topics import REGIONS, Region, events_topic, ingest_topic, rejected_topic
from tests.support import node
from tests.support.posting import Producer
from tests.support.stack import LocalStack

FILE = Path(__file__).parents[3] / "ops" / "docs" / "asyncapi.yaml"
REJECTED_SECONDS = 30.0
Json = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Json:
    found: Json = yaml.safe_load(FILE.read_text())
    return found


def message(document: Json, name: str) -> Json:
    found: Json = document["components"]["messages"][name]
    return found


def schema_of(document: Json, name: str) -> Json:
    """The schema file that a message's payload refers to."""
    schema: Json = json.loads((FILE.parent / message(document, name)["payload"]["schema"]["$ref"]).read_text())
    return schema


def test_it_is_asyncapi_3(document: Json) -> None:
    schema = json.loads((node.modules() / "@asyncapi" / "specs" / "schemas" / "3.0.0.json").read_text())
    jsonschema.Draft7Validator(schema).validate(document)


def test_schemas_and_fingerprints_are_those_that_are_written(document: Json) -> None:
    for name, schema in (("event", AUDIT_EVENT), ("rejection", REJECTED_EVENT)):
        assert schema_of(document, name) == schema
        assert message(document, name)["x-fingerprint"] == schema_fingerprint(schema)
        assert message(document, name)["name"] == schema["name"]


def test_addresses_are_the_topics_of_each_region(document: Json) -> None:
    assert document["components"]["parameters"]["region"]["enum"] == [region.lower() for region in REGIONS]
    for region in REGIONS:
        told = {name: channel["address"].format(region=region.lower()) for name, channel in document["channels"].items()}
        assert told == {"events": events_topic(region), "rejected": rejected_topic(region)}
    assert document["servers"]["broker"]["variables"]["port"]["default"] == str(DEFAULT_PORTS["kafka"])


async def test_the_topics_have_the_stated_partitions(stack: LocalStack, document: Json) -> None:
    found = await check_topics(stack.settings(Role.AUDITOR), Region.US)
    for name, topic in (("events", events_topic(Region.US)), ("rejected", rejected_topic(Region.US))):
        assert document["channels"][name]["bindings"]["kafka"]["partitions"] == found[topic].partitions


async def test_events_are_as_it_says(stack: LocalStack, document: Json) -> None:
    with httpx.Client(base_url=stack.base_url, timeout=60, verify=False) as client:
        poster = Producer(stack, client)
        stored = [poster.store({"actor": {"id": "u-1"}}) for _ in range(3)]
    records = await _records(stack, events_topic(Region.US), str(poster.workspace.id))
    headers = jsonschema.Draft202012Validator(message(document, "event")["headers"])
    assert [_decoded(document, "event", each)["seq"] for each in records] == [event["seq"] for event in stored]
    for record, event in zip(records, stored, strict=True):
        found = {name: value.decode() for name, value in record.headers}
        headers.validate(found)
        assert found["traceparent"].split("-")[1] == event["traceId"]
        assert _decoded(document, "event", record)["hash"].hex() == event["hash"]


async def test_rejections_are_as_it_says(stack: LocalStack, document: Json) -> None:
    nonsense = b"no envelope at all"
    async with producer(stack.settings(Role.INGEST), Region.US) as sender:
        await sender.send_and_wait(ingest_topic(Region.US), nonsense, key=b"", partition=0)
    with httpx.Client(base_url=stack.base_url, headers={"x-internal-token": stack.internal_token}, verify=False) as client:
        listed = "/internal/rejections?region=US"
        assert wait_for(lambda: bool(client.get(listed).json()["data"]), REJECTED_SECONDS)
    found = [(each, _decoded(document, "rejection", each)) for each in await _records(stack, rejected_topic(Region.US), "")]
    record, rejection = next((record, rejection) for record, rejection in found if rejection["original"] == nonsense)
    assert (rejection["reason"], rejection["id"], rejection["sourceIndex"]) == ("UNDECODABLE", None, -1)
    assert list(record.headers) == []


async def _records(stack: LocalStack, topic: str, key: str) -> list[ConsumerRecord]:
    found = [record async for record in read_topic(stack.settings(Role.AUDITOR), Region.US, topic)]
    return [record for record in found if record.key == key.encode()]


def _decoded(document: Json, name: str, record: ConsumerRecord) -> Json:
    """The record, read as the document says: by the schema that it refers to, behind the stated fingerprint."""
    fingerprint = bytes.fromhex(message(document, name)["x-fingerprint"])[::-1]
    assert record.value[:HEADER_BYTES] == MAGIC + fingerprint
    text = BytesIO(record.value[HEADER_BYTES:])
    decoded: Any = fastavro.schemaless_reader(text, schema_of(document, name), None)
    assert text.read() == b""
    return dict(decoded)
