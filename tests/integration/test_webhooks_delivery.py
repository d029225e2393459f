"""Events become requests to whoever wants them, each attempt on record: the sink and its dispatcher on real servers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from ops.db import Row, load_queries
from ops.kafka import partition_of
from ops.local.environment import Role
from ops.rows import to_stored
from ops.settings import Settings
from schemas.event import StoredEvent
from schemas.topics import Region
from schemas.webhooks import delivery_id
from sinks.retry import Fate, retry_dead
from sinks.webhooks.handle import handle
from sinks.webhooks.store import WebhookStore
from tests.support.delivering import FAST, Scene, dispatching, reconnected, scene, value
from tests.support.managing import Database, told
from tests.support.receiver import Received, cut, hang, status
from tests.support.sinking import REGION, forget_records, persist, until
from tests.support.stack import LocalStack


@pytest.fixture
async def stage(servers: LocalStack, superuser: Database) -> AsyncIterator[Scene]:
    async with scene(servers, superuser, webhook_retry_seconds=FAST) as opened:
        yield opened


@pytest.fixture
def settings(stage: Scene) -> Settings:
    return stage.settings


async def test_an_event_is_posted_signed_twice_and_its_attempt_recorded(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    async with dispatching(settings):
        (event,) = await stage.tell(chain, chain.events(1))
        (got,) = await stage.receiver.until("/hook", 1)
        (made,) = await stage.over(hook, 1)
    Webhook(hook.secret).verify(got.body, dict(got.headers))
    assert got.headers["x-hyrelog-signature"] == f"v1={hmac.digest(hook.secret.encode(), got.body, 'sha256').hex()}"
    assert got.headers["content-type"] == "application/json"
    assert (got.headers["x-trace-id"], got.headers["traceparent"].split("-")[1]) == (event.trace_id, event.trace_id)
    assert (got.id, got.attempt) == (delivery_id(hook.id, event.id, event.received_at), 1)
    assert "x-hyrelog-replay" not in got.headers
    assert (json.loads(got.body)["type"], got.data["id"], got.data["hash"]) == ("AUDIT_EVENT_CREATED", event.id, event.hash.hex())
    assert (str(made["delivery_id"]), made["kind"], made["attempt"], made["state"]) == (got.id, "EVENT", 1, "SUCCEEDED")
    assert (made["response_status"], made["error"], made["next_attempt_at"]) == (204, None, None)
    assert (made["body_hash"], str(made["event_id"]), made["seq"]) == (hashlib.sha256(got.body).digest(), event.id, event.seq)


async def test_what_fails_is_tried_again_and_the_endpoint_is_known_to_fail_until_it_does_not(stage: Scene, settings: Settings) -> None:
    """The pause is counted from the end of the attempt before, and the next one is announced in its record."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    looked = asyncio.Event()

    async def third_time_lucky(received: Received) -> web.Response:
        if received.attempt < 3:
            return web.Response(status=503)
        await looked.wait()
        return web.Response()

    stage.receiver.answers["/hook"] = third_time_lucky
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        await stage.receiver.until("/hook", 3)
        assert (await stage.row(hook))["failing_since"] is not None
        looked.set()
        made = await stage.over(hook, 3)
    assert (await stage.row(hook))["failing_since"] is None
    assert [(each["attempt"], each["state"], each["response_status"]) for each in made] == [
        (1, "RETRYING", 503),
        (2, "RETRYING", 503),
        (3, "SUCCEEDED", 200),
    ]
    assert len({each.id for each in stage.receiver.at("/hook")}) == 1
    for before, after in pairwise(made):
        ended = before["attempted_at"] + before["duration_ms"] * 1000
        assert before["next_attempt_at"] - ended >= 90_000
        assert before["next_attempt_at"] <= after["attempted_at"] + 5_000


async def test_after_the_last_step_a_delivery_has_failed(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = status(302, Location="/elsewhere")
    async with dispatching(settings) as metrics:
        await stage.tell(chain, chain.events(1))
        made = await stage.over(hook, 5)
    assert value(metrics, "hyrelog_webhook_attempts_total", state="FAILED") == 1
    assert [each["state"] for each in made] == ["RETRYING"] * 4 + ["FAILED"]
    assert stage.receiver.at("/elsewhere") == []


@pytest.mark.parametrize("path", ["refused", "hangs", "cut"])
async def test_the_record_says_why_there_was_no_answer(stage: Scene, settings: Settings, path: str) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, f"/{path}")

    stage.receiver.answers |= {"/cut": cut, "/hangs": hang}
    changes: dict[str, object] = {"webhook_retry_seconds": (), "webhook_timeout_seconds": 0.3}
    async with dispatching(settings.model_copy(update=changes | ({"egress_allow": ()} if path == "refused" else {}))):
        await stage.tell(chain, chain.events(1))
        (made,) = await stage.over(hook, 1)
    expected = {"refused": "DESTINATION_UNREACHABLE", "hangs": "TIMEOUT", "cut": "CONNECTION_LOST"}[path]
    assert (made["state"], made["error"], made["response_status"]) == ("FAILED", expected, None)
    assert made["duration_ms"] is not None


async def test_a_receiver_may_ask_for_a_later_time_up_to_the_next_step(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = status(429, Retry_After="3000")
    async with dispatching(settings.model_copy(update={"webhook_retry_seconds": (1.0, 60.0)})):
        await stage.tell(chain, chain.events(1))
        await stage.receiver.until("/hook", 1)

        async def is_recorded() -> bool:
            return len(await stage.attempts(hook)) == 1

        await until(is_recorded)
    (made,) = await stage.attempts(hook)
    pause = (made["next_attempt_at"] - made["attempted_at"]) / 1e6
    assert 60 <= pause < 67


async def test_who_says_gone_is_disabled_and_his_log_says_so(stage: Scene, settings: Settings) -> None:
    """What was due to him besides is given up, and on record as such."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = status(410)
    events = chain.events(3)
    async with dispatching(settings) as metrics:
        await stage.tell(chain, events[:1])
        await stage.receiver.until("/hook", 1)

        async def is_disabled() -> bool:
            return not (await stage.row(hook))["enabled"]

        await until(is_disabled)
        await stage.make_due(hook, events[1:])
        made = await stage.over(hook, 3)
    assert value(metrics, "hyrelog_webhook_disabled_endpoints_total", reason="GONE") == 1
    assert sorted((each["state"], each["error"] or "", each["response_status"] or 0) for each in made) == [
        ("FAILED", "", 410),
        ("FAILED", "ENDPOINT_DISABLED", 0),
        ("FAILED", "ENDPOINT_DISABLED", 0),
    ]
    assert (await stage.row(hook))["disabled_reason"] == "GONE"
    (entry,) = await told(stage.database, UUID(chain.company_id))
    assert (entry.action, entry.actor, entry.target) == ("webhook.disable", {"type": "system"}, {"id": hook.id, "type": "webhook"})
    assert entry.metadata == {"reason": "GONE"}


async def test_who_fails_for_too_long_is_disabled_at_the_next_failure(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = status(500)
    await stage.database.execute("UPDATE webhook SET failing_since = now() - interval '6 days' WHERE id = $1", hook.id)
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        made = await stage.over(hook, 2)
    assert [(each["state"], each["error"]) for each in made] == [("RETRYING", None), ("FAILED", "ENDPOINT_DISABLED")]
    assert (await stage.row(hook))["disabled_reason"] == "FAILING"
    (entry,) = await told(stage.database, UUID(chain.company_id))
    assert entry.metadata == {"reason": "FAILING"}


async def test_in_a_rotations_overlap_both_secrets_sign(stage: Scene, settings: Settings) -> None:
    """The predecessor's header has room for one: it stays on the old one."""
    chain = stage.chain()
    old = await stage.hook(chain, "/hook")
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        await stage.receiver.until("/hook", 1)
        new = await stage.rotate(old)
        await stage.tell(chain, chain.events(1))
        *_, got = await stage.receiver.until("/hook", 2)
        for secret in (old.secret, new.secret):
            Webhook(secret).verify(got.body, dict(got.headers))
        assert got.headers["x-hyrelog-signature"] == f"v1={hmac.digest(old.secret.encode(), got.body, 'sha256').hex()}"
        await stage.database.execute("UPDATE webhook SET previous_until = now() WHERE id = $1", old.id)
        await stage.tell(chain, chain.events(1))
        *_, got = await stage.receiver.until("/hook", 3)
    Webhook(new.secret).verify(got.body, dict(got.headers))
    assert len(got.headers["webhook-signature"].split()) == 1


async def test_each_endpoint_gets_what_it_asked_for(stage: Scene, settings: Settings) -> None:
    chain, other = stage.chain(), stage.chain()
    project, stranger = str(uuid4()), str(uuid4())
    for each in (project, stranger):
        await stage.database.execute(
            "INSERT INTO project (id, company_id, workspace_id, name) VALUES ($1, $2, $3, $4)",
            each, chain.company_id, chain.workspace_id, f"Project {each}",
        )  # fmt: skip
    await stage.hook(chain, "/all")
    await stage.hook(chain, "/logins", filters={"action": ["user.log*"]})
    await stage.hook(chain, "/billing", filters={"category": ["bill*"], "action": ["*.paid"]})
    await stage.hook(chain, "/project", project_id=project)
    await stage.hook(other, "/other")
    made = [
        chain.event(),
        chain.event(action="user.deleted", project_id=stranger),
        chain.event(category="billing", action="invoice.paid"),
        chain.event(category="billing", action="invoice.sent", project_id=project),
    ]
    async with dispatching(settings):
        await stage.tell(chain, made)
        (mark,) = await stage.tell(other, other.events(1))
        await stage.receiver.until("/other", 1)
        await stage.receiver.until("/all", 4)
    found = {path: sorted(each.data["seq"] for each in stage.receiver.at(path)) for path in ("/all", "/logins", "/billing", "/project")}
    assert found == {"/all": [1, 2, 3, 4], "/logins": [1], "/billing": [3], "/project": [4]}
    assert [each.data["id"] for each in stage.receiver.at("/other")] == [mark.id]


async def test_a_repeat_on_the_topic_makes_nothing_new(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    async with dispatching(settings):
        events = await stage.tell(chain, chain.events(5))
        await stage.over(hook, 5)
        await stage.topic.announce(events)
        await stage.tell(chain, chain.events(1))
        made = await stage.over(hook, 6)
    assert len(made) == len(stage.receiver.at("/hook")) == 6


async def test_an_endpoint_is_told_nothing_of_the_time_before_it(stage: Scene, settings: Settings) -> None:
    """Nor does a sink that looks at all workspaces anew tell it."""
    chain = stage.chain()
    async with dispatching(settings):
        await stage.tell(chain, chain.events(3))
        hook = await stage.hook(chain, "/hook")
        await stage.tell(chain, chain.events(1))
        await stage.over(hook, 1)
    await forget_records(settings)
    await stage.database.execute("TRUNCATE webhook_position")
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        await stage.over(hook, 2)
    assert [each.data["seq"] for each in stage.receiver.at("/hook")] == [4, 5]


async def test_what_the_topic_lost_is_delivered_from_postgres(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.tell(chain, chain.events(3))
    await forget_records(settings)
    await stage.database.execute("TRUNCATE webhook_position")
    async with dispatching(settings):
        await stage.over(hook, 3)
    assert [each.data["seq"] for each in stage.receiver.at("/hook")] == [1, 2, 3]


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_endpoint_that_was_disabled_gets_tests_alone(stage: Scene, settings: Settings, deleted: bool) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.disable(hook, deleted=deleted)
    await stage.make_due(hook, await stage.tell(chain, chain.events(2)))
    await stage.test(chain, hook)
    async with dispatching(settings):
        made = await stage.over(hook, 3)
    got = stage.receiver.at("/hook")
    given_up = [each for each in made if each["error"] == "ENDPOINT_DISABLED"]
    assert (len(got), len(given_up)) == ((0, 3) if deleted else (1, 2))
    assert all((each["state"], each["duration_ms"]) == ("FAILED", None) for each in given_up)
    if got:
        Webhook(hook.secret).verify(got[0].body, dict(got[0].headers))
        assert (json.loads(got[0].body)["type"], got[0].data) == ("WEBHOOK_TEST", {"webhookId": hook.id})


async def test_a_test_says_nothing_of_the_endpoint(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    stage.receiver.answers["/hook"] = status(410)
    await stage.test(chain, hook)
    async with dispatching(settings, sink=False):
        (made,) = await stage.over(hook, 1)
    assert (made["kind"], made["state"], made["response_status"]) == ("TEST", "FAILED", 410)
    row = await stage.row(hook)
    assert (row["enabled"], row["failing_since"]) == (True, None)


async def test_a_secret_that_can_not_be_opened_is_not_the_endpoints_failure(stage: Scene, settings: Settings) -> None:
    """Nor a failed attempt of the delivery's: the operator may have the wrong key, and is told. Others are served."""
    chain = stage.chain()
    bad = await stage.hook(chain, "/bad", secret=b"0123456789")
    async with dispatching(settings) as metrics:
        await stage.tell(chain, chain.events(1))

        async def is_tried_again() -> bool:
            return len(await stage.attempts(bad)) >= 6

        await until(is_tried_again)
        made = await stage.attempts(bad)
        assert value(metrics, "hyrelog_webhook_retries_total", error="Unsealable") >= 6
        good = await stage.hook(chain, "/good")
        await stage.tell(chain, chain.events(1))
        await stage.over(good, 1)
    assert {(each["state"], each["error"], each["duration_ms"]) for each in made} == {("RETRYING", "INTERRUPTED", None)}
    assert await stage.database.fetchval("SELECT max(failures) FROM webhook_due WHERE webhook_id = $1", bad.id) == 0
    assert (await stage.row(bad))["failing_since"] is None
    assert stage.receiver.at("/bad") == []


@pytest.mark.parametrize(("column", "changed"), [("url", "'https://elsewhere.example/'"), ("from_seq", "from_seq + 1")])
async def test_a_late_410_does_not_disable_what_was_changed_since(stage: Scene, settings: Settings, column: str, changed: str) -> None:
    """It was said by another URL, or before its owner enabled it anew."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")

    async def gone(_received: Received) -> web.Response:
        owner = await asyncpg.connect(stage.servers.superuser_url(REGION))
        await owner.execute(f"UPDATE webhook SET {column} = {changed} WHERE id = $1", hook.id)
        await owner.close()
        return web.Response(status=410)

    stage.receiver.answers["/hook"] = gone
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        (made,) = await stage.over(hook, 1)
    assert (made["state"], made["response_status"]) == ("FAILED", 410)
    assert (await stage.row(hook))["enabled"]


async def test_nobody_is_told_of_another_workspaces_events(stage: Scene, settings: Settings) -> None:
    """Whatever put them in line."""
    chain, other = stage.chain(), stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(
        hook, [*await persist(stage.database, other, other.events(2)), *await persist(stage.database, chain, chain.events(1))]
    )
    async with dispatching(settings, sink=False):
        await stage.receiver.until("/hook", 1)

        async def is_all() -> bool:
            return len(await stage.attempts(hook)) == 1

        await until(is_all)
    assert {each.data["workspaceId"] for each in stage.receiver.at("/hook")} == {chain.workspace_id}
    assert await stage.due(hook) == 2


async def test_an_event_that_is_gone_is_given_up(stage: Scene, settings: Settings) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    events = chain.events(2)
    await stage.tell(chain, events[1:])
    await stage.make_due(hook, events)
    async with dispatching(settings, sink=False):
        made = await stage.over(hook, 2)
    assert sorted((each["state"], each["error"]) for each in made if each["error"]) == [("FAILED", "EVENT_GONE")]
    assert [each.data["seq"] for each in stage.receiver.at("/hook")] == [2]


async def test_an_event_that_can_not_be_read_stops_no_other(stage: Scene, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.make_due(hook, await persist(stage.database, chain, chain.events(3)))

    def read(row: Row, region: Region) -> StoredEvent:
        if row["seq"] == 2:
            raise TypeError
        return to_stored(row, region)

    monkeypatch.setattr("sinks.webhooks.ledger.to_stored", read)
    async with dispatching(settings, sink=False):
        made = await stage.over(hook, 3)
    assert sorted((each["seq"], each["state"], each["error"]) for each in made) == [
        (1, "SUCCEEDED", None),
        (2, "FAILED", "EVENT_GONE"),
        (3, "SUCCEEDED", None),
    ]


async def test_an_endpoint_that_is_being_made_misses_no_event(stage: Scene, settings: Settings) -> None:
    """Else a batch that did not see it yet would pass over events that it was promised: so batches wait for its transaction."""
    chain = stage.chain()
    await stage.hook(chain, "/old")
    async with dispatching(settings), reconnected(stage) as maker:
        await stage.tell(chain, chain.events(1))
        await stage.receiver.until("/old", 1)
        async with maker.database.transaction():
            await maker.database.execute(load_queries("api.webhooks")["hold_sink"])
            await maker.hook(chain, "/new")
            await stage.tell(chain, chain.events(1))

            async def is_waited_for() -> bool:
                return bool(
                    await stage.database.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
                )

            await until(is_waited_for)
        (got,) = await stage.receiver.until("/new", 1)
    assert got.data["seq"] == 2


async def test_events_of_workspaces_without_endpoints_are_passed_over(stage: Scene, settings: Settings) -> None:
    """Unread, and without a hole in what the sink knows of the topic; from its first endpoint on a workspace is told of."""
    quiet, loud = stage.chain(), stage.chain()
    while partition_of(loud.workspace_id, settings.topic_partitions) != partition_of(quiet.workspace_id, settings.topic_partitions):
        loud = stage.chain()  # so that what comes behind the quiet one's events says that they were passed
    await stage.hook(loud, "/loud")
    unreadable = "SELECT count(*) FROM webhook_dead WHERE workspace_id IS NULL"
    before = await stage.database.fetchval(unreadable)
    async with dispatching(settings):
        await stage.tell(quiet, quiet.events(50))
        await stage.topic.put(quiet.workspace_id, [b"garbage"])
        await stage.tell(loud, loud.events(1))
        await stage.receiver.until("/loud", 1)
        await stage.hook(quiet, "/quiet")
        await stage.tell(quiet, quiet.events(1))
        (got,) = await stage.receiver.until("/quiet", 1)
    assert got.data["seq"] == 51
    assert await stage.database.fetchval(unreadable) == before


async def test_a_dead_letter_that_is_tried_again_is_delivered(stage: Scene, settings: Settings) -> None:
    """And moves nothing back: what the sink took since is not told a second time."""
    chain = stage.chain()
    hook = await stage.hook(chain, "/hook")
    await stage.tell(chain, chain.events(3))
    await stage.database.execute("UPDATE webhook_head SET seq = 3 WHERE workspace_id = $1", chain.workspace_id)
    letter = "INSERT INTO webhook_dead (topic, partition, workspace_id, seq, reason) VALUES ('hyrelog.us.events', 0, $1, 2, 'test')"
    await stage.database.execute(letter, chain.workspace_id)
    counts = await retry_dead("webhooks", handle, WebhookStore, stage.servers.settings(Role.OWNER), REGION, "mended")
    assert counts[Fate.TAKEN] == 1
    async with dispatching(settings):
        await stage.tell(chain, chain.events(1))
        await stage.over(hook, 2)
    assert sorted(each.data["seq"] for each in stage.receiver.at("/hook")) == [2, 4]
