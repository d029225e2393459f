"""The golden vectors: computed by our code, computed again by plain code, and both are what the files say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from ops.kafka import partition_of
from schemas import codec
from schemas.accepted import FIELDS, open_envelope
from schemas.canonical import InvalidJson, check_duplicates, encode, parse
from schemas.chain import START, Head, advance, link, verify, verify_head
from schemas.codec import encode_event, encode_stored
from schemas.envelope import ABSENT, Receipt, envelope, seal
from schemas.event import Group, StoredEvent
from schemas.incoming import parse_time, read
from schemas.leaf import join, leaf_of
from schemas.topics import Region
from tests.unit.schemas import plain

DIRECTORY = Path(__file__).parents[2] / "vectors"
PINNED = {
    "archive.json": "b4e7eaf1f88dc3b78383c4a0376cc02b2913b912309c819e1e12884e82c4db26",
    "canonical.json": "d3c2e507410c2c30870b9def9618ead5bdde9b15891b1e998a959dda8d39db5d",
    "chains.json": "d26df58242f07a9b83714873b8d72f228b6da3fc17034dcfc5517d879c7c0bfb",
    "partitions.json": "ad3ff1995baadbcdf8355f6cf1d250dee51f8bf5620c460803ea45f351584d49",
    "schemas.json": "c2fe0b1bb2cb3621fa506311d47bf5de19219cf068d4d9758f9101d507185616",
}


@cache
def load(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text("utf-8"))


class Request(NamedTuple):
    """One request of the chains' file, with its workspace."""

    chain: dict[str, Any]
    request: dict[str, Any]

    @property
    def receipt(self) -> Receipt:
        chain, request = self
        context = request["context"]
        region = Region(chain["dataRegion"])
        received_at = parse_time(request["receivedAt"])
        trace = request["traceId"]
        return Receipt(chain["companyId"], chain["workspaceId"], region, received_at, trace, None if context is None else context.encode())


def requests() -> list[Request]:
    return [Request(chain, request) for chain in load("chains.json") for request in chain["requests"]]


def events() -> list[Any]:
    found = ((each, index, event) for each in requests() for index, event in enumerate(each.request["events"]))
    return [pytest.param(each, index, event, id=event["name"]) for each, index, event in found]


def sealed(each: Request, event: dict[str, Any]) -> bytes:
    receipt = each.receipt
    salts = b"".join(bytes.fromhex(event["salts"][name] or "00" * 16) for name in plain.GROUPS)
    tenancy = codec.tenancy(receipt.company_id, receipt.workspace_id)
    return seal(read(parse(event["posted"].encode()), receipt.received_at), receipt, id=event["id"], salts=salts, tenancy=tenancy)


def stored(each: Request, index: int, event: dict[str, Any]) -> StoredEvent:
    """The event as it would be read back from the database, by way of the envelope."""
    accepted = open_envelope(bytes.fromhex(each.request["envelope"])).events[index]
    fields = dict(zip(FIELDS, accepted.fields, strict=True))
    texts = {name: None if (value := fields[name]) is None else value.decode() for name in ("category", "action", "outcome", "tenant_id")}
    commitments = (accepted.commitments[start : start + 32] for start in range(0, 128, 32))
    actor, resource, context, metadata = (
        None if (content := fields[name]) is None else Group(made, content) for made, name in zip(commitments, plain.GROUPS, strict=True)
    )
    project = fields["project_id"]
    return StoredEvent(
        seq=event["seq"],
        prev_hash=bytes.fromhex(event["prevHash"]),
        hash=bytes.fromhex(event["hash"]),
        source_offset=each.request["sourceOffset"],
        source_index=index,
        company_id=each.chain["companyId"],
        workspace_id=each.chain["workspaceId"],
        data_region=each.chain["dataRegion"],
        id=str(UUID(bytes=accepted.id)),
        project_id=None if project is None else str(UUID(bytes=project)),
        tenant_id=texts["tenant_id"],
        timestamp=accepted.timestamp,
        received_at=accepted.received_at,
        category=texts["category"] or "",
        action=texts["action"] or "",
        outcome=texts["outcome"],
        trace_id=accepted.trace_id.hex(),
        actor=actor,
        resource=resource,
        context=context,
        metadata=metadata,
    )


@pytest.mark.parametrize("name", sorted(PINNED))
def test_the_files_never_change(name: str) -> None:
    """Another layout is another ``v`` and another file; a failure here means that stored hashes would no longer verify."""
    assert sha256((DIRECTORY / name).read_bytes()).hexdigest() == PINNED[name]


def test_every_file_is_pinned() -> None:
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(PINNED)


@pytest.mark.parametrize(("each", "index", "event"), events())
def test_plain_code_computes_commitments_leaf_hash_and_record(each: Request, index: int, event: dict[str, Any]) -> None:
    posted = json.loads(event["posted"])
    context = each.request["context"]
    groups = {name: None if posted.get(name) is None else plain.canonical(json.dumps(posted[name])).decode() for name in plain.GROUPS}
    groups |= {"context": context}
    commitments = {
        name: None if value is None else plain.commitment(bytes.fromhex(event["salts"][name]), value.encode())
        for name, value in groups.items()
    }
    timestamp = posted.get("timestamp") or each.request["receivedAt"]
    fields = {name: posted.get(name) for name in ("projectId", "tenantId", "category", "action", "outcome")}
    fields |= {name: each.chain[name] for name in ("companyId", "workspaceId", "dataRegion")}
    fields |= {name: each.request[name] for name in ("receivedAt", "traceId")} | {"timestamp": plain.time_text(timestamp)}
    fields |= {name: event[name] for name in ("id", "seq", "prevHash")}
    leaf = plain.leaf(fields, commitments)
    assert (groups, commitments) == (event["groups"], event["commitments"])
    assert leaf.decode() == event["leaf"]
    assert plain.leaf_hash(leaf) == event["hash"]
    assert plain.decode(plain.schema("audit_event"), bytes.fromhex(event["record"])) == {
        **fields,
        **{name: bytes.fromhex(event[name]) for name in ("prevHash", "hash")},
        **{name: _avro_group(event, name) for name in plain.GROUPS},
        "v": 1,
        "sourceOffset": each.request["sourceOffset"],
        "sourceIndex": index,
        "timestamp": plain.micros(timestamp),
        "receivedAt": plain.micros(each.request["receivedAt"]),
    }


def _avro_group(event: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = event["groups"][name]
    salt, commitment = (bytes.fromhex(event[which][name] or "") for which in ("salts", "commitments"))
    return None if value is None else {"commitment": commitment, "salt": salt, "value": value}


@pytest.mark.parametrize("each", requests(), ids=lambda each: each.request["events"][0]["name"])
def test_plain_code_reads_the_envelope(each: Request) -> None:
    opened = plain.decode(plain.schema("envelope"), bytes.fromhex(each.request["envelope"]))
    assert (opened["companyId"], opened["workspaceId"]) == (each.chain["companyId"], each.chain["workspaceId"])
    for item, event in zip(map(plain.accepted_event, opened["events"]), each.request["events"], strict=True):
        posted = json.loads(event["posted"])
        actor, resource = posted.get("actor") or {}, posted.get("resource") or {}
        joined = item["leafHead"] + event["prevHash"].encode() + item["leafMiddle"] + str(event["seq"]).encode() + item["leafTail"]
        assert joined.decode() == event["leaf"]
        assert bytes.fromhex(event["record"]).endswith(item["record"])
        assert item["record"][item["categoryAt"] :].startswith(posted["category"].encode())
        texts = [actor.get("id"), actor.get("email"), resource.get("type"), resource.get("id"), posted.get("idempotencyKey"), None]
        names = ("actorId", "actorEmail", "resourceType", "resourceId", "idempotencyKey", "contentHash")
        assert [item[name] and item[name].decode() for name in names] == texts
        assert list(item["groups"]) == [
            ABSENT if (group := event["groups"][name]) is None else len(group.encode()) for name in plain.GROUPS
        ]


@pytest.mark.parametrize("each", requests(), ids=lambda each: each.request["events"][0]["name"])
def test_our_ingest_builds_the_envelope(each: Request) -> None:
    tenancy = codec.tenancy(each.chain["companyId"], each.chain["workspaceId"])
    built = envelope(tenancy, [sealed(each, event) for event in each.request["events"]])
    assert built.hex() == each.request["envelope"]


@pytest.mark.parametrize(("each", "index", "event"), events())
def test_our_chain_links_and_announces_the_event(each: Request, index: int, event: dict[str, Any]) -> None:
    accepted = open_envelope(bytes.fromhex(each.request["envelope"])).events[index]
    before = Head(event["seq"] - 1, bytes.fromhex(event["prevHash"]))
    head = link(before, accepted.pieces)
    assert join(accepted.pieces, before.hash, event["seq"]).decode() == event["leaf"]
    assert head == Head(event["seq"], bytes.fromhex(event["hash"]))
    record = encode_event(head.seq, before.hash, head.hash, each.request["sourceOffset"], index, accepted.rest)
    assert record.hex() == event["record"]


@pytest.mark.parametrize(("each", "index", "event"), events())
def test_our_leaf_and_record_of_the_stored_event_are_the_same(each: Request, index: int, event: dict[str, Any]) -> None:
    read_back = stored(each, index, event)
    assert leaf_of(read_back).decode() == event["leaf"]
    assert encode_stored(read_back).hex() == event["record"]
    if "recordAfterErasure" in event:
        assert read_back.actor is not None
        erased = replace(read_back, actor=Group(read_back.actor.commitment, None))
        assert encode_stored(erased).hex() == event["recordAfterErasure"]
        assert leaf_of(erased).decode() == event["leaf"]


def test_after_erasure_plain_code_finds_the_commitment_alone() -> None:
    (event,) = (param.values[2] for param in events() if "recordAfterErasure" in param.values[2])
    before, after = (plain.decode(plain.schema("audit_event"), bytes.fromhex(event[name])) for name in ("record", "recordAfterErasure"))
    assert after == before | {"actor": {"commitment": bytes.fromhex(event["commitments"]["actor"]), "salt": None, "value": None}}


@pytest.mark.parametrize("chain", load("chains.json"), ids=lambda chain: chain["dataRegion"])
def test_each_chain_verifies_to_its_head(chain: dict[str, Any]) -> None:
    head = START
    for request in chain["requests"]:
        for index, event in enumerate(request["events"]):
            read_back = stored(Request(chain, request), index, event)
            assert verify(head, read_back) is None
            head = advance(read_back)
    assert verify_head(chain["workspaceId"], head, Head(chain["head"]["seq"], bytes.fromhex(chain["head"]["hash"]))) is None


@pytest.mark.parametrize("vector", load("canonical.json")["accepted"], ids=lambda vector: vector["name"])
def test_canonical_json(vector: dict[str, str]) -> None:
    text = vector["input"].encode()
    written, _ = encode(parse(text))
    check_duplicates(text, written.count(b":"))
    assert written.decode() == vector["canonical"]
    assert plain.canonical(vector["input"]).decode() == vector["canonical"]


@pytest.mark.parametrize("vector", load("canonical.json")["refused"], ids=lambda vector: vector["name"])
def test_what_is_not_admissible_json_is_refused(vector: dict[str, str]) -> None:
    text = bytes.fromhex(vector["inputHex"]) if "inputHex" in vector else vector["input"].encode()
    with pytest.raises(InvalidJson):
        check_duplicates(text, encode(parse(text))[0].count(b":"))


@pytest.mark.parametrize("vector", load("schemas.json"), ids=lambda vector: vector["name"])
def test_schemas_have_their_fingerprints(vector: dict[str, str]) -> None:
    ours = codec.SCHEMAS[vector["fingerprint"]]
    assert f"{ours['namespace']}.{ours['name']}" == vector["name"]
    assert f"{plain.fingerprint(json.loads(vector['parsingCanonicalForm'])):016x}" == vector["fingerprint"]
    assert f"{plain.fingerprint(ours):016x}" == vector["fingerprint"]
    assert vector["header"] == "c301" + bytes.fromhex(vector["fingerprint"])[::-1].hex()


@pytest.mark.parametrize("vector", load("partitions.json"), ids=lambda vector: vector["workspaceId"])
def test_workspaces_stay_in_their_partition(vector: dict[str, Any]) -> None:
    counts = [int(count) for count in vector["partitionOf"]]
    assert {str(count): partition_of(vector["workspaceId"], count) for count in counts} == vector["partitionOf"]
    assert {str(count): (vector["murmur2"] & 0x7FFFFFFF) % count for count in counts} == vector["partitionOf"]
