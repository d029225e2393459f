"""Deliveries as the API lists them: states of what is due and what was tried, filters, pages, and bounded work; and replays begun."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.webhooks import deliveries, replays
from ops.clock import SystemClock
from ops.local.environment import Role
from schemas.event import format_time
from schemas.webhooks import State, delivery_id
from tests.support import searching
from tests.support.chains import BASE_TIME, SECOND
from tests.support.managing import Database, bind
from tests.support.stack import LocalStack
from tests.support.webhooks import Desk, attempted, due, nobodys

NOW = SystemClock().micros()


@pytest.fixture
async def desk(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Desk:
    tenant = servers.tenant(workspaces=2)
    await bind(superuser, tenant)
    await superuser.execute("SELECT webhook_days(30)")
    return Desk(api_client, tenant, superuser, servers.settings(Role.API))


async def listed(desk: Desk, webhook: str, query: str = "", *, limit: int = 200) -> list[dict[str, Any]]:
    """All deliveries, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await desk.get(webhook, f"/deliveries?limit={limit}&{query}{cursor}")
        assert len(page["data"]) <= limit
        found += page["data"]
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


@pytest.mark.parametrize(
    ("columns", "state", "has_next"),
    [
        ({}, "PENDING", True),
        ({"claimed": True}, "SENDING", False),
        ({"attempt": 2}, "RETRYING", True),
        ({"attempt": 2, "claimed": True}, "SENDING", False),
        ({"kind": "REPLAY"}, "PENDING", True),
    ],
    ids=str,
)
async def test_what_is_due_says_what_it_waits_for(desk: Desk, columns: dict[str, Any], state: str, has_next: bool) -> None:
    webhook = (await desk.create())["id"]
    (event,) = await desk.store(1)
    made = await due(desk, webhook, event, **columns)
    expected = {
        "id": made,
        "eventId": event.id,
        "seq": 1,
        "kind": columns.get("kind", "EVENT"),
        "state": state,
        "attempts": [],
        "nextAttemptAt": format_time(event.received_at) if has_next else None,
    }
    assert await listed(desk, webhook) == [expected]
    for each in State:
        assert await listed(desk, webhook, f"status={each}") == ([expected] if each == state else [])


async def test_each_attempt_is_told_and_the_last_one_says_the_state(desk: Desk) -> None:
    webhook = (await desk.create())["id"]
    (event,) = await desk.store(1)
    made = await attempted(desk, webhook, event, ["RETRYING", "SUCCEEDED"], at=NOW)
    (found,) = await listed(desk, webhook)
    assert (found["id"], found["state"], found["kind"], found["nextAttemptAt"]) == (made, "SUCCEEDED", "EVENT", None)
    common = {"kind": "EVENT", "durationMs": 12, "error": None, "bodyHash": "0" * 64, "nextAttemptAt": None}
    assert found["attempts"] == [
        {"attempt": 1, "attemptedAt": format_time(NOW + SECOND), "responseStatus": 503} | common,
        {"attempt": 2, "attemptedAt": format_time(NOW + 2 * SECOND), "responseStatus": 200} | common,
    ]


async def test_a_replay_of_what_had_failed_is_what_it_is_now(desk: Desk) -> None:
    """Whichever way it is looked for."""
    webhook = (await desk.create())["id"]
    (event,) = await desk.store(1)
    await attempted(desk, webhook, event, ["RETRYING", "FAILED"], at=NOW)
    assert [each["state"] for each in await listed(desk, webhook, "status=FAILED")] == ["FAILED"]
    await due(desk, webhook, event, kind="REPLAY")
    assert await listed(desk, webhook, "status=FAILED") == []
    (pending,) = await listed(desk, webhook, "status=PENDING")
    assert (pending["kind"], [each["attempt"] for each in pending["attempts"]]) == ("REPLAY", [1, 2])
    await desk.superuser.execute("DELETE FROM webhook_due WHERE webhook_id = $1", UUID(webhook))
    await attempted(desk, webhook, event, ["SUCCEEDED"], at=NOW + 60 * SECOND, kind="REPLAY")
    assert await listed(desk, webhook, "status=FAILED") == []
    (done,) = await listed(desk, webhook, "status=SUCCEEDED")
    assert [(each["attempt"], each["kind"]) for each in done["attempts"]] == [(1, "EVENT"), (2, "EVENT"), (1, "REPLAY")]


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
async def test_pages_hold_each_delivery_once_newest_event_first(desk: Desk, limit: int) -> None:
    webhook, other = (await desk.create())["id"], (await desk.create())["id"]
    events = await desk.store(14)
    for number, event in enumerate(events):
        if number % 2:
            await due(desk, webhook, event)
        if number % 3:
            await attempted(desk, webhook, event, ["RETRYING", "FAILED" if number % 4 else "SUCCEEDED"], at=NOW)
        await due(desk, other, event)
    expected = [event.seq for number, event in reversed(list(enumerate(events))) if number % 2 or number % 3]
    assert [each["seq"] for each in await listed(desk, webhook, limit=limit)] == expected
    for state in State:
        found = await listed(desk, webhook, f"status={state}", limit=limit)
        assert [each["seq"] for each in found] == [each["seq"] for each in await listed(desk, webhook) if each["state"] == state]


async def test_a_page_that_found_little_says_where_to_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However rare what is looked for is, a request reads so many deliveries and no more."""
    monkeypatch.setattr(deliveries, "MOST_WALKED", 4)
    webhook = (await desk.create())["id"]
    events = await desk.store(30)
    for event in events:
        await due(desk, webhook, event, claimed=event.seq in (2, 28))
    first = await desk.get(webhook, "/deliveries?status=SENDING&limit=5")
    assert [each["seq"] for each in first["data"]] == [28]
    assert first["nextCursor"] is not None
    assert [each["seq"] for each in await listed(desk, webhook, "status=SENDING", limit=5)] == [28, 2]


async def test_an_event_has_one_delivery_by_whatever_id_it_has(desk: Desk) -> None:
    webhook = (await desk.create())["id"]
    first, second, gone = await desk.store(3)
    made = {event.id: await due(desk, webhook, event) for event in (first, second)}
    repeat = nobodys()
    await searching.alias(desk.superuser, second, repeat)
    for asked in (second.id, repeat):
        assert [each["id"] for each in await listed(desk, webhook, f"eventId={asked}")] == [made[second.id]]
    assert await listed(desk, webhook, f"eventId={second.id}&status=SUCCEEDED") == []
    for asked in (gone.id, nobodys()):
        assert await listed(desk, webhook, f"eventId={asked}") == []


async def test_a_delivery_is_found_by_the_id_of_an_event_that_is_purged(desk: Desk) -> None:
    """The time of its receipt is in its id."""
    webhook = (await desk.create())["id"]
    event_id = "019c1388-7149-7198-9612-ea72d1f43751"
    made = delivery_id(webhook, event_id, int("019c13887149", 16) * 1000)
    await desk.superuser.execute(
        "INSERT INTO webhook_due (webhook_id, id, company_id, workspace_id, seq, event_id, kind, due_at) "
        "VALUES ($1, $2, $3, $4, 1, $5, 'EVENT', now())",
        webhook, made, desk.tenant.id, desk.workspace, event_id,
    )  # fmt: skip
    assert [each["id"] for each in await listed(desk, webhook, f"eventId={event_id}")] == [made]


async def test_times_are_of_the_events_receipt_and_tile(desk: Desk) -> None:
    webhook = (await desk.create())["id"]
    events = await desk.store(10)
    for event in events:
        await due(desk, webhook, event)
    middle = format_time(events[4].received_at)
    assert [each["seq"] for each in await listed(desk, webhook, f"from={middle}")] == [10, 9, 8, 7, 6, 5]
    assert [each["seq"] for each in await listed(desk, webhook, f"to={middle}")] == [4, 3, 2, 1]
    assert await listed(desk, webhook, f"from={middle}&to={middle}") == []
    assert [each["seq"] for each in await listed(desk, webhook, f"from={middle}&eventId={events[2].id}")] == []


async def test_a_cursor_is_good_for_its_own_list_alone(desk: Desk) -> None:
    webhook, other = (await desk.create())["id"], (await desk.create())["id"]
    for event in await desk.store(2):
        await due(desk, webhook, event)
    cursor = (await desk.get(webhook, "/deliveries?limit=1"))["nextCursor"]
    for path in (f"{other}/deliveries?cursor={cursor}", f"{webhook}/deliveries?status=PENDING&cursor={cursor}"):
        answer = await desk.ask("GET", f"/v1/webhooks/{path}")
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "cursor")


@pytest.mark.parametrize("query", ["status=DONE", "eventId=x", "from=yesterday", "limit=0", "limit=201"])
async def test_filters_that_can_not_be_are_refused(desk: Desk, query: str) -> None:
    webhook = (await desk.create())["id"]
    answer = await desk.ask("GET", f"/v1/webhooks/{webhook}/deliveries?{query}")
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, query.partition("=")[0])


WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"fromSeq": 2, "toSeq": 9}, {"from_seq": 2, "to_seq": 5}),
    ({"fromSeq": 2, "toSeq": 3}, {"from_seq": 2, "to_seq": 3}),
    (
        {"from": format_time(BASE_TIME), "to": format_time(BASE_TIME + 3 * SECOND)},
        {"from_at": BASE_TIME, "to_at": BASE_TIME + 3 * SECOND},
    ),
]


@pytest.mark.parametrize(("wish", "columns"), WAYS, ids=str)
async def test_a_replay_is_of_a_range_up_to_the_newest_event(desk: Desk, wish: dict[str, Any], columns: dict[str, Any]) -> None:
    webhook = (await desk.create())["id"]
    await desk.store(5)
    answer = await desk.act(webhook, "replay", wish)
    assert answer.status_code == 202
    begun = answer.json()
    row = await desk.superuser.fetchrow("SELECT * FROM webhook_replay WHERE id = $1", UUID(begun["replayId"]))
    assert row is not None
    ranges = {name: row[name] for name in ("from_at", "to_at", "from_seq", "to_seq", "event_ids")}
    assert ranges == dict.fromkeys(ranges) | columns
    assert (row["state"], row["company_id"], row["workspace_id"]) == ("RUNNING", desk.tenant.id, UUID(desk.workspace))
    replay = {"state": "RUNNING", "events": 0, "createdAt": begun["createdAt"], "finishedAt": None}
    assert (await desk.get(webhook))["replay"] == {"id": begun["replayId"]} | replay
    entry = (await desk.told())[-1]
    assert (entry.action, entry.metadata["replayId"]) == ("webhook.replay", begun["replayId"])


async def test_a_replay_of_events_is_of_each_once_under_its_own_id(desk: Desk) -> None:
    webhook = (await desk.create())["id"]
    first, second = await desk.store(2)
    repeat = nobodys()
    await searching.alias(desk.superuser, first, repeat)
    begun = (await desk.act(webhook, "replay", {"eventIds": [second.id, repeat, first.id]})).json()
    ids = await desk.superuser.fetchval("SELECT event_ids FROM webhook_replay WHERE id = $1", UUID(begun["replayId"]))
    assert [str(each) for each in ids] == [second.id, first.id]


NOBODYS = "0190163d-8694-739b-aea5-966c26f8ad90"
"""Of no event, and always the same: a test's name is to be its name in every process."""
BAD_REPLAYS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"fromSeq": 1}, None),
    ({"fromSeq": 1, "toSeq": 2, "eventIds": [NOBODYS]}, None),
    ({"from": format_time(BASE_TIME), "toSeq": 2}, None),
    ({"fromSeq": 1, "toSeq": None}, "toSeq"),
    ({"fromSeq": 0, "toSeq": 2}, "fromSeq"),
    ({"fromSeq": 2, "toSeq": 1}, "toSeq"),
    ({"fromSeq": 6, "toSeq": 9}, "fromSeq"),
    ({"from": format_time(BASE_TIME), "to": format_time(BASE_TIME)}, "to"),
    ({"from": "2026-01-01T00:00:00", "to": format_time(BASE_TIME)}, "from"),
    ({"eventIds": []}, "eventIds"),
    ({"eventIds": ["x"]}, "eventIds[0]"),
    ({"eventIds": [NOBODYS] * 1001}, "eventIds"),
]


@pytest.mark.parametrize(("wish", "field"), BAD_REPLAYS, ids=lambda value: str(value)[:60])
async def test_a_replay_that_can_not_be_names_its_field(desk: Desk, wish: dict[str, Any], field: str | None) -> None:
    webhook = (await desk.create())["id"]
    await desk.store(5)
    answer = await desk.act(webhook, "replay", wish)
    assert (answer.status_code, answer.json()["details"][0].get("field")) == (400, field)
    assert (await desk.get(webhook))["replay"] is None


async def test_events_of_elsewhere_and_nobodys_are_told_apart_by_nothing(desk: Desk, servers: LocalStack) -> None:
    webhook = (await desk.create())["id"]
    (own,) = await desk.store(1)
    foreign = servers.tenant()
    (theirs,) = await Desk(desk.client, foreign, desk.superuser, desk.settings).store(1)
    answer = await desk.act(webhook, "replay", {"eventIds": [own.id, theirs.id, nobodys()]})
    message = "is not a stored event of this workspace"
    assert answer.json()["details"] == [{"field": f"eventIds[{index}]", "message": message} for index in (1, 2)]


async def test_a_replay_has_its_most(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_EVENTS", 4)
    webhook = (await desk.create())["id"]
    await desk.store(5)
    times = {"from": format_time(BASE_TIME), "to": format_time(BASE_TIME + 100 * SECOND)}
    for wish, field in (({"fromSeq": 1, "toSeq": 5}, "toSeq"), (times, "to")):
        answer = await desk.act(webhook, "replay", wish)
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)
    assert (await desk.act(webhook, "replay", {"fromSeq": 2, "toSeq": 5})).status_code == 202


async def test_one_replay_at_a_time_and_only_while_enabled(desk: Desk) -> None:
    """Disabling cancels it, so that the next one can begin."""
    webhook = (await desk.create())["id"]
    await desk.store(2)
    wish = {"fromSeq": 1, "toSeq": 2}
    first = (await desk.act(webhook, "replay", wish)).json()
    assert ((await desk.act(webhook, "replay", wish)).status_code, (await desk.get(webhook))["replay"]["id"]) == (409, first["replayId"])
    disabled = (await desk.act(webhook, "disable")).json()
    assert (disabled["replay"]["state"], disabled["replay"]["finishedAt"] is not None) == ("CANCELLED", True)
    assert (await desk.act(webhook, "replay", wish)).status_code == 409
    await desk.act(webhook, "enable")
    assert (await desk.act(webhook, "replay", wish)).status_code == 202


async def test_of_replays_at_once_one_begins(desk: Desk) -> None:
    webhook = (await desk.create())["id"]
    await desk.store(2)
    headers = {"Authorization": f"Bearer {desk.tenant.key}"}
    asked = [desk.client.post(f"/v1/webhooks/{webhook}/replay", headers=headers, json={"fromSeq": 1, "toSeq": 2}) for _ in range(3)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*asked)) == [202, 409, 409]
