"""Endpoints managed by the API: what they are like, who may, what the plan allows, and that each action is in the audit."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.app import create_app
from ops.local.environment import Role
from ops.sealing import Sealer
from ops.tenancy.registry import open_registry
from schemas.incoming import parse_time
from schemas.webhooks import NOTICES, secret_key
from tests.support.managing import Database, audit_workspace, bind
from tests.support.serving import served
from tests.support.stack import LocalStack
from tests.support.webhooks import EVENTS, URL, Desk, nobodys

DAY = 24 * 3600 * 1_000_000


@pytest.fixture
async def desk(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Desk:
    tenant = servers.tenant(workspaces=2)
    await bind(superuser, tenant)
    return Desk(api_client, tenant, superuser, servers.settings(Role.API))


async def test_an_endpoint_is_told_with_its_secret_once(desk: Desk) -> None:
    wish = {
        "url": URL,
        "events": EVENTS * 2,
        "projectId": str(desk.tenant.workspaces[0].project_id),
        "filters": {"category": ["auth", "data*"], "action": []},
        "description": "To our SIEM",
    }
    answer = await desk.ask("POST", desk.place, wish)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert len(secret_key(made.pop("secret"))) == 32
    shown = {name: value for name, value in made.items() if name not in ("id", "createdAt", "updatedAt")}
    nothing = ("disabledReason", "disabledAt", "failingSince", "secretRotatesUntil", "deletedAt", "replay")
    filters = {"category": ["auth", "data*"]}
    expected = wish | {"workspaceId": desk.workspace, "status": "ACTIVE", "events": EVENTS, "filters": filters}
    assert shown == expected | dict.fromkeys(nothing)
    assert await desk.get(made["id"]) == made
    assert (await desk.ask("GET", desk.place)).json() == {"data": [made], "nextCursor": None}


async def test_dispatchers_are_told_to_look_of_each_action(desk: Desk) -> None:
    """They rest while nothing is due: a test is to be sent at once, and a disabled endpoint to be sent no more."""
    notices: asyncio.Queue[object] = asyncio.Queue()

    def notice(*_notice: object) -> None:
        notices.put_nowait(_notice)

    await desk.superuser.add_listener(NOTICES, notice)
    made = await desk.create()
    for action in ("test", "disable", "enable"):
        assert (await desk.ask("POST", f"/v1/webhooks/{made['id']}/{action}")).status_code < 300
    async with asyncio.timeout(30):
        for _ in range(4):
            await notices.get()
    await desk.superuser.remove_listener(NOTICES, notice)


async def test_its_making_is_audited_without_its_secrets(desk: Desk) -> None:
    made = await desk.create()
    (entry,) = await desk.told()
    assert (entry.action, entry.outcome, entry.target) == ("webhook.create", "SUCCESS", {"id": made["id"], "type": "webhook"})
    assert entry.metadata == {
        "workspaceId": desk.workspace,
        "projectId": None,
        "url": "https://hooks.example.com/hyrelog",
        "events": EVENTS,
        "filters": {},
    }


async def test_its_secret_is_sealed_for_it_alone(desk: Desk) -> None:
    made, other = await desk.create(), await desk.create()
    sealed = (await desk.columns(made["id"]))["secret"]
    sealer = Sealer.of(desk.settings)
    assert sealer.open(sealed, made["id"]).decode() == made["secret"]
    with pytest.raises(ValueError, match="sealed for another"):
        sealer.open(sealed, other["id"])
    assert made["secret"] != other["secret"]


async def test_it_is_told_of_what_is_stored_after_it(desk: Desk) -> None:
    """And its workspace's head is where the chain was, for the sink to begin at."""
    first = await desk.create()
    assert (await desk.columns(first["id"]))["from_seq"] == 1
    await desk.store(3)
    second = await desk.create()
    assert (await desk.columns(second["id"]))["from_seq"] == 4
    assert await desk.superuser.fetchval("SELECT seq FROM webhook_head WHERE workspace_id = $1", UUID(desk.workspace)) == 0


BAD_WISHES: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://hooks.example.com"}, "url"),
    ({"url": "https://hooks.example.com:8443"}, "url"),
    ({"url": "https://10.0.0.1/"}, "url"),
    ({"url": "https://169.254.169.254/latest"}, "url"),
    ({"url": "https://localhost/"}, "url"),
    ({"url": "https://user:pw@hooks.example.com/"}, "url"),
    ({"url": "https://hooks.example.com/" + "x" * 2048}, "url"),
    ({"url": 7}, "url"),
    ({"events": []}, "events"),
    ({"events": ["WEBHOOK_TEST"]}, "events[0]"),
    ({"projectId": "x"}, "projectId"),
    ({"filters": {"outcome": ["SUCCESS"]}}, "filters.outcome"),
    ({"filters": {"category": ["AUTH"]}}, "filters.category[0]"),
    ({"filters": {"action": ["*a*b*c*"]}}, "filters.action[0]"),
    ({"filters": {"action": [""]}}, "filters.action[0]"),
    ({"filters": {"action": ["a"] * 21}}, "filters.action"),
    ({"description": "x" * 501}, "description"),
    ({"description": "a\0b"}, "description"),
    ({"secret": "whsec_x"}, "secret"),
]


@pytest.mark.parametrize(("wish", "field"), BAD_WISHES, ids=str)
async def test_a_bad_wish_names_its_field_and_makes_nothing(desk: Desk, wish: dict[str, Any], field: str) -> None:
    answer = await desk.ask("POST", desk.place, {"url": URL, "events": EVENTS} | wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"][0]["field"] == field
    assert (await desk.ask("GET", desk.place)).json()["data"] == []
    (entry,) = await desk.told()
    assert (entry.action, entry.outcome, entry.target) == ("webhook.create", "DENIED", {"id": desk.workspace, "type": "workspace"})


async def test_the_demos_receiver_may_be_reached_by_http(desk: Desk) -> None:
    """EGRESS_ALLOW's address and port, and no other."""
    assert (await desk.create(url="http://127.0.0.1:3001/hook"))["url"] == "http://127.0.0.1:3001/hook"
    answer = await desk.ask("POST", desk.place, {"url": "http://127.0.0.1:3002/hook", "events": EVENTS})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "url")


async def test_a_project_of_elsewhere_and_nobodys_are_told_apart_by_nothing(desk: Desk, servers: LocalStack) -> None:
    elsewhere = [str(desk.tenant.workspaces[1].project_id), str(servers.tenant().workspaces[0].project_id), nobodys()]
    answers = [(await desk.ask("POST", desk.place, {"url": URL, "events": EVENTS, "projectId": each})).json() for each in elsewhere]
    assert {answer.pop("traceId") for answer in answers}
    assert [answer["details"] for answer in answers] == [[{"field": "projectId", "message": "is not a project of this workspace"}]] * 3


async def test_changes_leave_the_rest_as_it_is(desk: Desk) -> None:
    made = await desk.create(description="Old", filters={"action": ["user.*"]})
    await desk.superuser.execute("UPDATE webhook SET failing_since = now() WHERE id = $1", UUID(made["id"]))
    for change in ({"description": None}, {"filters": {"category": ["auth"]}}, {"filters": None}, {}, {"url": "https://example.org/"}):
        answer = await desk.ask("PATCH", f"/v1/webhooks/{made['id']}", change)
        assert answer.status_code == 200
        before, made = made, answer.json()
        expected = before | change | ({"filters": {}} if change.get("filters", 0) is None else {})
        volatile = ("updatedAt", "failingSince", "secret")
        assert {name: value for name, value in made.items() if name not in volatile} == {
            name: value for name, value in expected.items() if name not in volatile
        }
        assert (made["failingSince"] is None) == ("url" in change)
    assert [sorted(entry.metadata or {}) for entry in (await desk.told())[1:]] == [[], ["filters"], ["filters"], [], ["url"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"events": []}, "events"),
        ({"projectId": None}, "projectId"),
        ({"workspaceId": "x"}, "workspaceId"),
        ({"status": "DISABLED"}, "status"),
    ],
)
async def test_what_can_not_be_changed_is_refused(desk: Desk, change: dict[str, Any], field: str) -> None:
    made = await desk.create()
    answer = await desk.ask("PATCH", f"/v1/webhooks/{made['id']}", change)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)
    assert (await desk.get(made["id"]))["url"] == URL


async def test_disabled_and_enabled_again_it_begins_behind_the_chains_end(desk: Desk) -> None:
    made = await desk.create()
    disabled = (await desk.act(made["id"], "disable")).json()
    assert (disabled["status"], disabled["disabledReason"]) == ("DISABLED", "MANUAL")
    assert disabled["disabledAt"] is not None
    await desk.store(5)
    enabled = (await desk.act(made["id"], "enable")).json()
    assert (enabled["status"], enabled["disabledReason"], enabled["disabledAt"]) == ("ACTIVE", None, None)
    assert (await desk.columns(made["id"]))["from_seq"] == 6
    assert [(entry.action, entry.metadata) for entry in (await desk.told())[1:]] == [
        ("webhook.disable", {"before": "ACTIVE"}),
        ("webhook.enable", {"before": "DISABLED"}),
    ]


async def test_what_is_so_already_stays_as_it_is(desk: Desk) -> None:
    made = await desk.create()
    await desk.store(5)
    assert (await desk.act(made["id"], "enable")).status_code == 200
    assert (await desk.columns(made["id"]))["from_seq"] == 1
    await desk.superuser.execute(
        "UPDATE webhook SET enabled = false, disabled_reason = 'GONE', disabled_at = now() WHERE id = $1", UUID(made["id"])
    )
    assert (await desk.act(made["id"], "disable")).json()["disabledReason"] == "GONE"


async def test_a_deleted_endpoint_can_be_read_and_nothing_else(desk: Desk) -> None:
    """As Stripe does: what refers to it must still lead somewhere."""
    made = await desk.create()
    deleted = (await desk.ask("DELETE", f"/v1/webhooks/{made['id']}")).json()
    assert (deleted["status"], deleted["deletedAt"] is not None) == ("DELETED", True)
    assert await desk.get(made["id"]) == deleted
    assert (await desk.get(made["id"], "/deliveries"))["data"] == []
    assert (await desk.ask("GET", desk.place)).json()["data"] == []
    for verb in ("enable", "disable", "rotate-secret", "test"):
        assert (await desk.act(made["id"], verb)).status_code == 404
    assert (await desk.act(made["id"], "replay", {"fromSeq": 1, "toSeq": 1})).status_code == 404
    for method in ("PATCH", "DELETE"):
        assert (await desk.ask(method, f"/v1/webhooks/{made['id']}", {} if method == "PATCH" else None)).status_code == 404


async def test_a_rotated_secret_leaves_the_old_one_for_a_day(desk: Desk) -> None:
    made = await desk.create()
    answer = await desk.act(made["id"], "rotate-secret")
    assert answer.status_code == 200
    rotated = answer.json()
    columns, sealer = await desk.columns(made["id"]), Sealer.of(desk.settings)
    assert sealer.open(columns["secret"], made["id"]).decode() == rotated["secret"] != made["secret"]
    assert sealer.open(columns["previous_secret"], made["id"]).decode() == made["secret"]
    overlap = parse_time(rotated["secretRotatesUntil"]) - parse_time(rotated["updatedAt"])
    assert DAY - 5_000_000 < overlap < DAY + 5_000_000
    assert (await desk.told())[-1].metadata == {"overlapUntil": rotated["secretRotatesUntil"]}


async def test_a_second_rotation_waits_for_the_first_ones_overlap(desk: Desk) -> None:
    made = await desk.create()
    first = (await desk.act(made["id"], "rotate-secret")).json()
    answer = await desk.act(made["id"], "rotate-secret")
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    await desk.superuser.execute("UPDATE webhook SET previous_until = now() WHERE id = $1", UUID(made["id"]))
    assert (await desk.get(made["id"]))["secretRotatesUntil"] is None
    assert (await desk.act(made["id"], "rotate-secret")).status_code == 200
    previous = (await desk.columns(made["id"]))["previous_secret"]
    assert Sealer.of(desk.settings).open(previous, made["id"]).decode() == first["secret"]


@pytest.mark.parametrize("disabled", [False, True])
async def test_a_test_is_put_in_line(desk: Desk, disabled: bool) -> None:
    made = await desk.create()
    if disabled:
        await desk.act(made["id"], "disable")
    answer = await desk.act(made["id"], "test")
    assert answer.status_code == 202
    ((delivery),) = (await desk.get(made["id"], "/deliveries"))["data"]
    assert (delivery["id"], delivery["kind"], delivery["state"]) == (answer.json()["deliveryId"], "TEST", "PENDING")
    assert (delivery["eventId"], delivery["seq"], delivery["attempts"]) == (None, None, [])
    assert (await desk.told())[-1].metadata == {"deliveryId": delivery["id"]}


async def test_lists_are_paged(desk: Desk) -> None:
    made = [(await desk.create())["id"] for _ in range(3)]
    first = (await desk.ask("GET", f"{desk.place}?limit=2")).json()
    second = (await desk.ask("GET", f"{desk.place}?limit=2&cursor={first['nextCursor']}")).json()
    assert [each["id"] for each in first["data"] + second["data"]] == made
    assert second["nextCursor"] is None


@pytest.mark.parametrize(("plan", "code"), [("FREE", "PLAN_RESTRICTED"), ("STARTER", "PLAN_RESTRICTED"), ("GROWTH", "PLAN_LIMIT_EXCEEDED")])
async def test_the_plan_says_how_many(desk: Desk, plan: str, code: str) -> None:
    """Of those that are enabled: a disabled one makes room, and takes none until it is enabled."""
    made = [(await desk.create())["id"] for _ in range(3)]
    await desk.act(made[0], "disable")
    if plan == "GROWTH":
        made.append((await desk.create())["id"])
    await desk.superuser.execute("UPDATE company SET plan = $2 WHERE id = $1", desk.tenant.id, plan)
    for answer in (await desk.ask("POST", desk.place, {"url": URL, "events": EVENTS}), await desk.act(made[0], "enable")):
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert len((await desk.ask("GET", desk.place)).json()["data"]) == len(made)


async def test_of_two_at_the_plans_last_place_one_wins(desk: Desk) -> None:
    """By whichever of the company's keys: the lock is held until both have come for it, so that they do meet."""
    disabled = (await desk.create())["id"]
    await desk.act(disabled, "disable")
    for _ in range(2):
        await desk.create()
    own = (await desk.ask("GET", "/v1/keys/status")).json()["id"]
    other = (await desk.ask("POST", f"/v1/keys/{own}/rotate", {})).json()["key"]
    async with desk.superuser.transaction():
        await desk.superuser.execute("SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.webhooks.' || $1::uuid, 0))", desk.tenant.id)
        creating = desk.client.post(desk.place, headers={"Authorization": f"Bearer {desk.tenant.key}"}, json={"url": URL, "events": EVENTS})
        enabling = desk.client.post(f"/v1/webhooks/{disabled}/enable", headers={"Authorization": f"Bearer {other}"})
        racing = [asyncio.create_task(creating), asyncio.create_task(enabling)]
        while await desk.superuser.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") < len(racing):
            await asyncio.sleep(0.02)
    statuses = [answer.status_code for answer in await asyncio.gather(*racing)]
    assert sorted(statuses) in ([200, 403], [201, 403])
    assert await desk.superuser.fetchval("SELECT count(*) FROM webhook WHERE company_id = $1 AND enabled", desk.tenant.id) == 3


async def test_what_is_made_while_the_plan_goes_down_is_disabled_or_refused(desk: Desk, servers: LocalStack) -> None:
    """Nobody slips in between."""

    def go_down() -> None:
        with open_registry(servers.settings(Role.ADMIN), desk.tenant.region) as registry:
            registry.set_plan(desk.tenant.id, "FREE")

    await desk.create()
    async with desk.superuser.transaction():
        await desk.superuser.execute("SELECT pg_advisory_xact_lock(hashtextextended('hyrelog.webhooks.' || $1::uuid, 0))", desk.tenant.id)
        headers = {"Authorization": f"Bearer {desk.tenant.key}"}
        creating = asyncio.create_task(desk.client.post(desk.place, headers=headers, json={"url": URL, "events": EVENTS}))
        racing = [creating, asyncio.create_task(asyncio.to_thread(go_down))]
        while await desk.superuser.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") < len(racing):
            await asyncio.sleep(0.02)
    await asyncio.gather(*racing)
    assert creating.result().status_code in (201, 403)
    assert await desk.superuser.fetchval("SELECT count(*) FROM webhook WHERE company_id = $1 AND enabled", desk.tenant.id) == 0


async def test_an_archived_workspace_gets_no_webhooks(desk: Desk) -> None:
    made = await desk.create()
    await desk.superuser.execute("UPDATE workspace SET archived_at = now() WHERE id = $1", UUID(desk.workspace))
    answer = await desk.ask("POST", desk.place, {"url": URL, "events": EVENTS})
    assert (answer.status_code, answer.json()["code"]) == (403, "WORKSPACE_ARCHIVED")
    assert (await desk.get(made["id"]))["status"] == "ACTIVE"


async def test_the_audit_workspace_may_have_webhooks(desk: Desk) -> None:
    workspace = await audit_workspace(desk.superuser, desk.tenant.id)
    assert (await desk.ask("POST", f"/v1/workspaces/{workspace}/webhooks", {"url": URL, "events": EVENTS})).status_code == 201


@pytest.mark.parametrize("kind", ["workspace's", "unbound"])
async def test_looking_takes_a_key_that_may_manage(desk: Desk, kind: str) -> None:
    made = await desk.create()
    key = desk.tenant.workspaces[0].key
    if kind == "unbound":
        await bind(desk.superuser, desk.tenant, ())
        key = desk.tenant.key
    async with served(create_app(desk.settings)) as client:  # one that does not know the key yet
        for path in (desk.place, f"/v1/webhooks/{made['id']}", f"/v1/webhooks/{made['id']}/deliveries"):
            answer = await client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_looking_is_no_operation(desk: Desk) -> None:
    """Neither counted among the ten of a minute nor audited."""
    made = await desk.create()
    headers = {"Authorization": f"Bearer {desk.tenant.key}"}
    for _ in range(12):
        assert (await desk.client.get(f"/v1/webhooks/{made['id']}", headers=headers)).status_code == 200
    assert len(await desk.told()) == 1
    for _ in range(9):
        assert (await desk.client.post(f"/v1/webhooks/{made['id']}/enable", headers=headers)).status_code == 200
    assert (await desk.client.post(f"/v1/webhooks/{made['id']}/enable", headers=headers)).status_code == 429


@pytest.mark.parametrize("verb", ["enable", "disable", "rotate-secret", "test", "replay"])
async def test_a_key_that_was_just_revoked_does_nothing_any_more(desk: Desk, verb: str) -> None:
    made = await desk.create()
    await desk.superuser.execute("UPDATE api_key SET revoked_at = now() WHERE company_id = $1", desk.tenant.id)
    answer = await desk.act(made["id"], verb, {"fromSeq": 1, "toSeq": 1} if verb == "replay" else None)
    assert answer.status_code == 401
    assert (await desk.told())[-1].outcome == "DENIED"


async def test_unknown_parameters_are_refused(desk: Desk) -> None:
    made = await desk.create()
    for method, path in (("GET", ""), ("GET", "/deliveries"), ("POST", "/test")):
        answer = await desk.ask(method, f"/v1/webhooks/{made['id']}{path}?dryRun=true")
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "dryRun")
