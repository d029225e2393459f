"""Keys made and rotated by the API: who may, how often, what they are like, and that each action and refusal is in the audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from api.app import create_app
from ops.db import Connection, tenant_transaction
from ops.local.environment import Role
from ops.seed import Tenant
from ops.settings import Settings
from schemas.event import format_time
from schemas.incoming import parse_time
from schemas.keys import Scope, make_key
from schemas.topics import Region
from tests.support.managing import LOOPBACK, Database, Told, audit_workspace, bind, operator, told
from tests.support.serving import served
from tests.support.stack import LocalStack

TRACE = "0af7651916cd43dd8448eb211c80319c"
LATER = "2099-01-01T00:00:00Z"
KEPT = "2099-01-01T00:00:00.000000Z"
HOUR = 3_600_000_000


@dataclass(frozen=True)
class Office:
    """The API, a company of two workspaces whose company key may manage, and the database below."""

    client: httpx.AsyncClient
    tenant: Tenant
    superuser: Database
    settings: Settings

    @property
    def keys(self) -> str:
        """Where keys of the first workspace are made."""
        return f"/v1/workspaces/{self.tenant.workspaces[0].id}/keys"

    async def post(self, path: str, body: Any, key: str | None = None, *, content: bytes = b"", **headers: str) -> httpx.Response:
        """Post a body as JSON, or ``content`` as it stands. Header names are written with ``_``."""
        sent = {"authorization": f"Bearer {key or self.tenant.key}", "x-trace-id": TRACE, "user-agent": "test/1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            return await self.client.post(path, headers=sent, json=body)
        return await self.client.post(path, headers=sent, content=content)

    async def make(self, **wish: Any) -> dict[str, Any]:
        """A new workspace key."""
        answer = await self.post(self.keys, {"name": "Robot"} | wish)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def status(self, key: str) -> httpx.Response:
        return await self.client.get("/v1/keys/status", headers={"Authorization": f"Bearer {key}"})

    async def told(self) -> list[Told]:
        return await told(self.superuser, self.tenant.id)

    async def count(self) -> int:
        """How many keys the company has."""
        found: int = await self.superuser.fetchval("SELECT count(*) FROM api_key WHERE company_id = $1", self.tenant.id)
        return found


@pytest.fixture
async def office(servers: LocalStack, superuser: Database, api_client: httpx.AsyncClient) -> Office:
    tenant = servers.tenant(workspaces=2)
    await bind(superuser, tenant)
    return Office(api_client, tenant, superuser, servers.settings(Role.API))


async def test_a_key_that_is_made_works_and_is_audited(office: Office) -> None:
    answer = await office.post(office.keys, {"name": "Robot", "expiresAt": LATER, "ipAllowlist": ["127.0.0.1", "2001:db8::/32"]})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    shown = {name: made[name] for name in made if name not in ("id", "key", "prefix", "createdAt")}
    assert shown == {
        "scope": "WORKSPACE",
        "workspaceId": str(office.tenant.workspaces[0].id),
        "name": "Robot",
        "status": "ACTIVE",
        "expiresAt": KEPT,
        "lastUsedAt": None,
        "ipAllowlist": ["127.0.0.1/32", "2001:db8::/32"],
    }
    assert made["key"].startswith(made["prefix"])
    status = (await office.status(made["key"])).json()
    assert status == {name: value for name, value in made.items() if name != "key"}
    (entry,) = await office.told()
    assert entry.metadata == {name: made[name] for name in ("scope", "workspaceId", "expiresAt", "ipAllowlist")}
    assert (entry.action, entry.outcome, entry.trace_id) == ("key.create", "SUCCESS", TRACE)
    assert entry.target == {"id": made["id"], "type": "key", "name": "Robot", "prefix": made["prefix"]}
    caller = (await office.status(office.tenant.key or "")).json()
    assert entry.actor == {"id": caller["id"], "type": "key", "scope": "COMPANY"}
    assert entry.context == {"ipAddress": "127.0.0.1", "userAgent": "test/1"}


async def test_neither_database_nor_audit_holds_the_key_itself(office: Office) -> None:
    made = await office.make()
    secret = made["key"][-40:].encode()
    rows = await office.superuser.fetch("SELECT k::text FROM api_key k WHERE company_id = $1", office.tenant.id)
    records = await office.superuser.fetch("SELECT record FROM audit_outbox WHERE company_id = $1", office.tenant.id)
    assert rows
    assert records
    assert not any(secret in row[0].encode() for row in rows)
    assert not any(secret in row[0] for row in records)


async def test_a_key_is_bound_to_its_expiry_and_its_addresses(office: Office) -> None:
    elsewhere = await office.make(ipAllowlist=["192.0.2.0/24"])
    assert (await office.status(elsewhere["key"])).status_code == 403
    soon = format_time(parse_time((await office.make())["createdAt"]) + HOUR)
    assert (await office.make(expiresAt=soon))["expiresAt"] == soon


async def test_a_rotated_key_hands_down_all_but_its_secret(office: Office) -> None:
    old = await office.make(expiresAt=LATER, ipAllowlist=list(LOOPBACK))
    answer = await office.post(f"/v1/keys/{old['id']}/rotate", {"overlapSeconds": 3600})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    for name in ("scope", "workspaceId", "name", "expiresAt", "ipAllowlist"):
        assert new[name] == old[name]
    assert new["id"] != old["id"]
    ends = format_time(parse_time(new["createdAt"]) + HOUR)
    assert (new["previous"]["id"], new["previous"]["status"], new["previous"]["expiresAt"]) == (old["id"], "ROTATED", ends)
    assert (await office.status(new["key"])).json()["status"] == "ACTIVE"
    assert (await office.status(old["key"])).json()["status"] == "ROTATED"
    entry = (await office.told())[-1]
    assert (entry.action, entry.outcome, entry.target["id"]) == ("key.rotate", "SUCCESS", old["id"])
    assert (entry.metadata["newKeyId"], entry.metadata["oldExpiresAt"]) == (new["id"], ends)


async def test_the_overlap_is_an_hour_by_default_and_never_outlives_the_key(office: Office) -> None:
    first = await office.make()
    soon = format_time(parse_time(first["createdAt"]) + HOUR // 2)
    second = await office.make(expiresAt=soon)
    rotated = (await office.post(f"/v1/keys/{first['id']}/rotate", None)).json()
    assert parse_time(rotated["previous"]["expiresAt"]) == parse_time(rotated["createdAt"]) + HOUR
    assert (await office.post(f"/v1/keys/{second['id']}/rotate", {})).json()["previous"]["expiresAt"] == soon


async def test_without_an_overlap_the_old_key_ends_at_once(office: Office) -> None:
    """As soon as a process looks it up; one that knows it may let it pass for ten seconds."""
    old = await office.make()
    assert (await office.post(f"/v1/keys/{old['id']}/rotate", {"overlapSeconds": 0})).status_code == 201
    assert (await office.status(old["key"])).status_code == 401


async def test_a_company_key_rotates_itself(office: Office) -> None:
    own = (await office.status(office.tenant.key or "")).json()
    new = (await office.post(f"/v1/keys/{own['id']}/rotate", {})).json()
    assert (new["scope"], new["workspaceId"], new["ipAllowlist"]) == ("COMPANY", None, list(LOOPBACK))
    assert (await office.post(office.keys, {"name": "By its successor"}, new["key"])).status_code == 201


async def test_of_rotations_at_once_one_wins(office: Office) -> None:
    """The row is held until all have come for it, so that they do meet."""
    old = await office.make()
    async with office.superuser.transaction():
        await office.superuser.execute("SELECT FROM api_key WHERE id = $1 FOR UPDATE", old["id"])
        rotations = [asyncio.create_task(office.post(f"/v1/keys/{old['id']}/rotate", {})) for _ in range(3)]
        while await office.superuser.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < len(rotations):
            await asyncio.sleep(0.02)
    assert sorted(answer.status_code for answer in await asyncio.gather(*rotations)) == [201, 409, 409]
    assert await office.count() == 5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("revoked_at = now()", "REVOKED"),
        ("expires_at = now()", "EXPIRED"),
        ("expires_at = now() + interval '1 hour', rotated_to = id", "ROTATED"),
    ],
)
async def test_only_an_active_key_can_be_rotated(office: Office, change: str, sentence: str) -> None:
    made = await office.make()
    await office.superuser.execute(f"UPDATE api_key SET {change} WHERE id = $1", made["id"])
    answer = await office.post(f"/v1/keys/{made['id']}/rotate", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert sentence in answer.json()["error"]
    assert (await office.told())[-1].outcome == "DENIED"


LATELY = [
    ("revoked_at = now()", 401),
    ("expires_at = now()", 401),
    ("ip_allowlist = '{192.0.2.0/24}'", 403),
    ("ip_allowlist = '{}'", 403),
]


@pytest.mark.parametrize("verb", ["create", "rotate"])
@pytest.mark.parametrize(("change", "status"), LATELY)
async def test_a_key_that_lost_its_rights_leaves_no_other_behind(office: Office, verb: str, change: str, status: int) -> None:
    """Not even in the seconds in which the API still knows it as good."""
    made = await office.make()
    await office.superuser.execute(f"UPDATE api_key SET {change} WHERE company_id = $1 AND workspace_id IS NULL", office.tenant.id)
    path, body = {"create": (office.keys, {"name": "x"}), "rotate": (f"/v1/keys/{made['id']}/rotate", {})}[verb]
    assert (await office.post(path, body)).status_code == status
    assert await office.count() == 4
    last = (await office.told())[-1]
    assert (last.outcome, last.metadata["status"]) == ("DENIED", status)


async def test_a_revocation_under_way_is_waited_for(office: Office) -> None:
    await office.make()
    async with office.superuser.transaction():
        await office.superuser.execute(
            "UPDATE api_key SET revoked_at = now() WHERE company_id = $1 AND workspace_id IS NULL", office.tenant.id
        )
        making = asyncio.create_task(office.post(office.keys, {"name": "x"}))
        while not await office.superuser.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.02)
    assert (await making).status_code == 401
    assert await office.count() == 4


async def test_keys_that_rotate_each_other_do_not_stand_in_each_others_way(office: Office) -> None:
    own = (await office.status(office.tenant.key or "")).json()
    new = (await office.post(f"/v1/keys/{own['id']}/rotate", {})).json()
    await office.superuser.execute("UPDATE api_key SET rotated_to = NULL WHERE id = $1", own["id"])
    async with office.superuser.transaction():
        await office.superuser.execute("SELECT FROM api_key WHERE company_id = $1 FOR UPDATE", office.tenant.id)
        pairs = ((own["id"], new["key"]), (new["id"], office.tenant.key))
        rotations = [asyncio.create_task(office.post(f"/v1/keys/{key_id}/rotate", {}, by)) for key_id, by in pairs]
        while await office.superuser.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < len(rotations):
            await asyncio.sleep(0.02)
    assert [answer.status_code for answer in await asyncio.gather(*rotations)] == [201, 201]


BAD_WISHES: list[tuple[Any, str | None]] = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": 7}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "x", "scope": "COMPANY"}, "scope"),
    ({"name": "x", "expires_at": LATER}, "expires_at"),
    ({"name": "x", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ({"name": "x", "expiresAt": "2099-01-01T00:00:00"}, "expiresAt"),
    ({"name": "x", "expiresAt": 4_070_908_800}, "expiresAt"),
    ({"name": "x", "ipAllowlist": "10.0.0.0/8"}, "ipAllowlist"),
    ({"name": "x", "ipAllowlist": ["10.0.0.0/8", "10.0.0.0/33"]}, "ipAllowlist[1]"),
    ({"name": "x", "ipAllowlist": ["fe80::1%eth0"]}, "ipAllowlist[0]"),
    ({"name": "x", "ipAllowlist": [167_772_160]}, "ipAllowlist[0]"),
    ({"name": "x", "ipAllowlist": ["192.0.2.1"] * 101}, "ipAllowlist"),
    ([{"name": "x"}], None),
]


@pytest.mark.parametrize(("wish", "field"), BAD_WISHES, ids=str)
async def test_a_bad_body_names_its_field_and_makes_nothing(office: Office, wish: Any, field: str | None) -> None:
    answer = await office.post(office.keys, wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["details"][0].get("field") == field
    await _assert_refused(office, 400)


@pytest.mark.parametrize("overlap", [-1, 86_401, 1.5, "60", True, None])
async def test_the_overlap_is_whole_seconds_up_to_a_day(office: Office, overlap: Any) -> None:
    made = await office.make()
    answer = await office.post(f"/v1/keys/{made['id']}/rotate", {"overlapSeconds": overlap})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "overlapSeconds")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"name": "x", "name": "y"}', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"name": "x"}', "text/plain", 415),
        (b'{"name": "%b"}' % (b"x" * 70_000), "application/json", 413),
    ],
)
async def test_a_body_that_is_no_small_json_object_is_refused(office: Office, content: bytes, kind: str, status: int) -> None:
    answer = await office.post(office.keys, None, content=content, content_type=kind)
    assert answer.status_code == status
    await _assert_refused(office, status)


async def _assert_refused(office: Office, status: int) -> None:
    """One entry that says so, and no key."""
    (entry,) = await office.told()
    assert (entry.outcome, entry.metadata["status"], entry.trace_id) == ("DENIED", status, TRACE)
    assert await office.count() == 3


async def test_a_workspace_key_may_not_manage(office: Office) -> None:
    answer = await office.post(office.keys, {"name": "x"}, office.tenant.workspaces[0].key)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    await _assert_refused(office, 403)
    assert (await office.told())[0].actor["scope"] == "WORKSPACE"


@pytest.mark.parametrize(
    ("allowlist", "status"),
    [
        ((), 403),
        (("126.0.0.0/7",), 403),
        (("127.0.0.0/8", "0.0.0.0/0"), 403),
        (("127.0.0.0/8", "2001::/31"), 403),
        (("127.0.0.0/8", "2001:db8::/32"), 201),
        (("127.0.0.1/32",), 201),
    ],
)
async def test_the_managing_key_is_bound_to_few_addresses(office: Office, allowlist: tuple[str, ...], status: int) -> None:
    await bind(office.superuser, office.tenant, allowlist)
    assert (await office.post(office.keys, {"name": "x"})).status_code == status
    (entry,) = await office.told()
    assert entry.outcome == ("SUCCESS" if status == 201 else "DENIED")


async def test_a_key_used_from_elsewhere_is_refused_in_its_companys_audit(office: Office) -> None:
    await bind(office.superuser, office.tenant, ("192.0.2.0/24",))
    assert (await office.post(office.keys, {"name": "x"})).status_code == 403
    await _assert_refused(office, 403)


@pytest.mark.parametrize("place", ["foreign", "nobody's", "no id"])
async def test_what_is_not_the_companys_is_not_found(office: Office, servers: LocalStack, place: str) -> None:
    foreign = servers.tenant()
    places = {"foreign": str(foreign.workspaces[0].id), "nobody's": str(uuid4()), "no id": "x" * 300}
    assert (await office.post(f"/v1/workspaces/{places[place]}/keys", {"name": "x"})).status_code == 404
    await _assert_refused(office, 404)
    (entry,) = await office.told()
    assert entry.target == (None if place == "no id" else {"id": places[place], "type": "workspace"})
    assert await told(office.superuser, foreign.id) == []


async def test_another_companys_key_can_not_be_rotated(office: Office, servers: LocalStack) -> None:
    foreign = servers.tenant()
    key = await office.superuser.fetchval("SELECT id FROM api_key WHERE company_id = $1 LIMIT 1", foreign.id)
    assert (await office.post(f"/v1/keys/{key}/rotate", {})).status_code == 404
    assert await office.superuser.fetchval("SELECT rotated_to FROM api_key WHERE id = $1", key) is None
    await _assert_refused(office, 404)


@pytest.mark.parametrize("lapsed", ["revoked_at = now()", "expires_at = now()"])
async def test_a_key_that_has_lapsed_is_refused_in_its_companys_audit(office: Office, lapsed: str) -> None:
    await office.superuser.execute(f"UPDATE api_key SET {lapsed} WHERE company_id = $1 AND workspace_id IS NULL", office.tenant.id)
    for _ in range(2):
        assert (await office.post(office.keys, {"name": "x"})).status_code == 401
    assert [(entry.outcome, entry.metadata["status"], entry.actor["scope"]) for entry in await office.told()] == [
        ("DENIED", 401, "COMPANY")
    ] * 2


@pytest.mark.parametrize("key", ["unknown", "none", "nonsense"])
async def test_a_call_without_a_good_key_is_told_to_the_operator(office: Office, key: str) -> None:
    trace = uuid4().hex
    unknown = make_key(Region.US, Scope.COMPANY, b"0123456789abcdef01234567")
    authorization = {"unknown": f"Bearer {unknown}", "none": "", "nonsense": "Bearer x"}[key]
    answer = await office.post(office.keys, {"name": "x"}, authorization=authorization, x_trace_id=trace)
    assert answer.status_code == 401
    assert await office.told() == []
    (entry,) = [each for each in await told(office.superuser, await operator(office.superuser)) if each.trace_id == trace]
    assert (entry.outcome, entry.metadata["code"]) == ("DENIED", "UNAUTHORIZED")
    assert entry.actor == ({"type": "key", "name": "hlk_us_co_30313233"} if key == "unknown" else {"type": "anonymous"})


async def test_ten_operations_a_minute_refused_ones_too(office: Office, servers: LocalStack) -> None:
    """Counted in Postgres, so by another process as well; other companies have their own ten."""
    answers = [await office.post(office.keys, {"name": "" if number % 2 else "x"}) for number in range(10)]
    assert [answer.status_code for answer in answers] == [201, 400] * 5
    assert answers[-1].headers["x-ratelimit-limit"] == "10"
    assert answers[-1].headers["x-ratelimit-remaining"] == "0"
    async with served(create_app(office.settings)) as second:
        answer = await replace(office, client=second).post(office.keys, {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMITED")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert [entry.outcome for entry in await office.told()] == ["SUCCESS", "DENIED"] * 5 + ["DENIED"]
    foreign = servers.tenant()
    await bind(office.superuser, foreign)
    assert (await office.post(f"/v1/workspaces/{foreign.workspaces[0].id}/keys", {"name": "x"}, foreign.key)).status_code == 201


async def test_the_next_minute_has_ten_more(office: Office) -> None:
    for _ in range(11):
        answer = await office.post(office.keys, {"name": ""})
    assert answer.status_code == 429
    await office.superuser.execute(
        "UPDATE management_use SET minute_at = minute_at - interval '1 minute' WHERE company_id = $1", office.tenant.id
    )
    assert (await office.post(office.keys, {"name": "x"})).status_code == 201


@pytest.mark.parametrize("kind", ["workspace's", "unbound"])
async def test_a_key_that_may_not_manage_does_not_use_up_the_companys_operations(office: Office, kind: str) -> None:
    own = (await office.status(office.tenant.key or "")).json()
    key = (await office.post(f"/v1/keys/{own['id']}/rotate", {})).json()
    await office.superuser.execute("UPDATE api_key SET ip_allowlist = '{}' WHERE id = $1", UUID(key["id"]))
    for _ in range(12):
        refused = await office.post(office.keys, {"name": "x"}, key["key"] if kind == "unbound" else office.tenant.workspaces[0].key)
        assert refused.status_code == 403
    assert (await office.post(office.keys, {"name": "x"})).status_code == 201


async def test_an_archived_workspace_gets_no_keys(office: Office) -> None:
    made = await office.make()
    await office.superuser.execute("UPDATE workspace SET archived_at = now() WHERE id = $1", office.tenant.workspaces[0].id)
    for path, body in ((office.keys, {"name": "x"}), (f"/v1/keys/{made['id']}/rotate", {})):
        answer = await office.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "WORKSPACE_ARCHIVED")
    assert [entry.outcome for entry in await office.told()] == ["SUCCESS", "DENIED", "DENIED"]


async def test_the_audit_workspace_gets_no_keys(office: Office) -> None:
    """By the API, and not even by its database: so nothing but the relay writes to it."""
    workspace = await audit_workspace(office.superuser, office.tenant.id)
    answer = await office.post(f"/v1/workspaces/{workspace}/keys", {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    insert = "INSERT INTO api_key (id, company_id, workspace_id, key_hash, prefix, name) VALUES ($1, $2, $3, $4, 'hlk', 'x')"
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await office.superuser.execute(insert, uuid4(), office.tenant.id, workspace, bytes(32))
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await office.superuser.execute("UPDATE api_key SET workspace_id = $2 WHERE company_id = $1", office.tenant.id, workspace)


@pytest.mark.parametrize("path", ["create", "rotate", "refuse"])
async def test_without_its_entry_nothing_is_done(office: Office, path: str) -> None:
    """A refusal that can't be written down is not told either."""
    made = await office.make()
    calls = {"create": (office.keys, {"name": "x"}), "rotate": (f"/v1/keys/{made['id']}/rotate", {}), "refuse": (office.keys, {"name": ""})}
    hasty = office.settings.model_copy(update={"statement_timeout_seconds": 0.3})
    async with served(create_app(hasty)) as client, office.superuser.transaction():
        await office.superuser.execute("LOCK TABLE audit_outbox IN ACCESS EXCLUSIVE MODE")
        answer = await replace(office, client=client).post(*calls[path])
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert await office.count() == 4
    assert (await office.status(made["key"])).json()["status"] == "ACTIVE"
    assert len(await office.told()) == 1


async def test_status_tells_what_a_key_is_of_either_kind(office: Office) -> None:
    workspace = office.tenant.workspaces[0]
    own, company = (await office.status(workspace.key or "")).json(), (await office.status(office.tenant.key or "")).json()
    assert (own["scope"], own["workspaceId"], own["ipAllowlist"]) == ("WORKSPACE", str(workspace.id), [])
    assert (company["scope"], company["workspaceId"], company["ipAllowlist"]) == ("COMPANY", None, list(LOOPBACK))
    used = parse_time("2026-03-01T00:00:00Z")
    await office.superuser.execute("INSERT INTO api_key_use VALUES ($1, $2, $3)", UUID(own["id"]), office.tenant.id, used)
    assert (await office.status(workspace.key or "")).json()["lastUsedAt"] == "2026-03-01T00:00:00.000000Z"
    assert await office.told() == []


async def test_a_status_is_read_within_the_callers_own_walls(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace key's transaction names its workspace, and writes nothing."""
    seen: list[tuple[str | None, bool]] = []

    @asynccontextmanager
    async def noting(
        connection: Connection, company: str, workspace: str | None = None, *, readonly: bool = False, **rest: Any
    ) -> AsyncIterator[None]:
        seen.append((workspace, readonly))
        async with tenant_transaction(connection, company, workspace, readonly=readonly, **rest):
            yield

    monkeypatch.setattr("api.store.tenant_transaction", noting)
    workspace = office.tenant.workspaces[0]
    assert (await office.status(workspace.key or "")).status_code == 200
    assert seen == [(str(workspace.id), True)]


async def test_unknown_parameters_are_refused(office: Office) -> None:
    answer = await office.post(f"{office.keys}?dryRun=true", {"name": "x"})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "dryRun")
    await _assert_refused(office, 400)
