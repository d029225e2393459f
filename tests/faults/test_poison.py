"""What can't be stored is rejected with a reason, alone; what is beside it is stored."""

from __future__ import annotations

import random
from base64 import b64encode

import orjson
import pytest

from schemas.accepted import open_envelope
from schemas.incoming import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from schemas.topics import Region
from tests.faults import topic
from tests.faults.cluster import Cluster
from tests.faults.ledger import Outcome
from tests.faults.load import Account, event
from tests.faults.standing import drained
from tests.faults.trial import trial

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_event_that_postgres_refuses_is_rejected_alone(cluster: Cluster, writers: list[Account]) -> None:
    """In the middle of a chunk: Postgres takes no NUL, and no id twice. Neighbours before and after it are stored."""
    account = writers[0]
    async with trial(cluster, writers, "refused") as running:
        (first,) = (await running.client.post(account)).ids
        with_nul, with_repeat, good = (running.ledger.sent(account.workspace_id, 5) for _ in range(3))
        records = (
            topic.enveloped(account, with_nul, action={2: "user.\0login"}),
            topic.enveloped(account, with_repeat, id={1: first, 3: with_nul.ids[0]}),
            topic.enveloped(account, good),
        )
        await topic.put(cluster, account, *records)
        verdict = await running.verdict()
        told = await running.client.get(account, f"/v1/events/{with_nul.ids[2]}")
        listed = (await running.client.get(account, "/v1/rejections"))["data"]
    verdict.assert_good()
    assert told == {"id": with_nul.ids[2], "status": "REJECTED", "reason": "NOT_STORABLE"}
    expected = {with_nul.ids[2]: "NOT_STORABLE", first: "DUPLICATE_ID", with_nul.ids[0]: "DUPLICATE_ID"}
    assert {each["id"]: each["reason"] for each in listed} == expected
    published = {each["id"]: each for each in await topic.rejected(cluster, Region.US)}
    assert {each: published[each]["reason"] for each in expected} == expected
    for each in expected:
        assert [one.id_text for one in open_envelope(published[each]["original"]).events] == [each]


async def test_undecodable_records_are_rejected_and_passed(cluster: Cluster, writers: list[Account]) -> None:
    account = writers[0]
    async with trial(cluster, writers, "undecodable") as running:
        before, after = (running.ledger.sent(account.workspace_id, 3) for _ in range(2))
        whole = topic.enveloped(account, after)
        poison = (b"no Avro", whole[:-30], whole + b"more", b"\xc3\x01", b"", None)
        await topic.put(cluster, account, topic.enveloped(account, before), *poison, whole)
        (await running.verdict()).assert_good()
    found = [each for each in await topic.rejected(cluster, Region.US) if each["reason"] == "UNDECODABLE"]
    assert sorted(each["original"] for each in found) == sorted(value or b"" for value in poison)
    assert {(each["id"], each["workspaceId"], each["sourceIndex"]) for each in found} == {(None, None, -1)}


async def test_the_largest_legal_batch_goes_through(cluster: Cluster, writers: list[Account]) -> None:
    """Incompressible, to the byte: every limit on the way must follow from this one."""
    account = writers[0]
    rng = random.Random(1)
    async with trial(cluster, writers, "largest") as running:
        request = running.ledger.sent(account.workspace_id, MAX_BATCH_EVENTS)
        body = [event(marker, metadata={"marker": marker, "noise": ""}) for marker in request.markers]
        room, extra = divmod(MAX_BATCH_BYTES - len(orjson.dumps(body)), len(body))
        for index, each in enumerate(body):
            each["metadata"]["noise"] = b64encode(rng.randbytes(room)).decode()[: room + (extra if index == 0 else 0)]
        assert len(orjson.dumps(body)) == MAX_BATCH_BYTES
        await running.client.send(account, request, body)
        assert (request.outcome, request.answer) == (Outcome.ACCEPTED, "202")
        took, missing = await drained(cluster, [Region.US], 10)
        assert not missing, f"after {took:.0f} s"
        (await running.verdict()).assert_good()
