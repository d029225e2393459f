"""The operator's commands: what they change, what they refuse, and that each change is told in the company's audit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from ops.cli import build
from ops.local.environment import Role
from ops.seed import SeedSettings, Tenant, seed
from schemas.keys import Scope, hash_key, key_prefix, parse_key
from schemas.topics import Region
from tests.support.managing import told
from tests.support.stack import LocalStack

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def run(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command against the test's stack, which is to succeed."""
    monkeypatch.setenv("HYRELOG_STATE", str(servers.state.root))

    def invoke(*words: object, exit_code: int = 0) -> Result:
        done = CliRunner().invoke(build(), [str(word) for word in words])
        assert done.exit_code == exit_code, done.output
        return done

    return invoke


@pytest.fixture
def tenant(servers: LocalStack) -> Tenant:
    return servers.tenant()


async def _actions(superuser: Database, company: UUID) -> list[str]:
    """What was done, and after a ``!`` what was refused."""
    return [f"{'!' * (entry.outcome == 'DENIED')}{entry.action}" for entry in await told(superuser, company)]


async def _holder(servers: LocalStack, superuser: Database, key: str) -> asyncpg.Record | None:
    """What services find under the key."""
    secret = servers.settings(Role.ADMIN).secrets("api_key_secret")[0]
    return await superuser.fetchrow("SELECT * FROM find_key(ARRAY[$1::bytea])", hash_key(secret, key))


async def test_a_company_from_nothing_to_a_working_key(servers: LocalStack, superuser: Database, run: Run) -> None:
    company, company_key = run("company", "create", "Initech", "--region", "us", "--plan", "STARTER").output.split()
    workspace, workspace_key = run("workspace", "create", company, "Production").output.split()
    project = run("project", "create", workspace, "Main").output.strip()
    found = await _holder(servers, superuser, workspace_key)
    assert found is not None
    assert (str(found["company_id"]), str(found["workspace_id"])) == (company, workspace)
    assert json.loads(found["limits"])["hotDays"] == 30
    assert [parse_key(key).scope for key in (company_key, workspace_key)] == [Scope.COMPANY, Scope.WORKSPACE]
    assert await superuser.fetchval("SELECT workspace_id FROM project WHERE id = $1", UUID(project)) == UUID(workspace)
    assert await _actions(superuser, UUID(company)) == [
        "company.create",
        "key.create",
        "workspace.create",
        "key.create",
        "project.create",
    ]


async def test_an_entry_says_who_did_what_to_what(superuser: Database, run: Run, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    run("company", "plan", tenant.id, "ENTERPRISE")
    (entry,) = await told(superuser, tenant.id)
    assert (entry.action, entry.outcome) == ("company.plan", "SUCCESS")
    assert entry.actor == {"id": "ada", "type": "operator"}
    assert entry.target == {"id": str(tenant.id), "type": "company"}
    assert entry.metadata == {"after": "ENTERPRISE", "before": "GROWTH"}


async def test_no_audit_holds_a_key(superuser: Database, run: Run, tenant: Tenant) -> None:
    _, key = run("key", "create", tenant.id, "CI").output.split()
    record: bytes = await superuser.fetchval("SELECT record FROM audit_outbox WHERE company_id = $1", tenant.id)
    assert key.encode() not in record
    assert key[-40:].encode() not in record


async def test_archiving_is_seen_by_whoever_looks_the_key_up_and_can_be_taken_back(
    servers: LocalStack, superuser: Database, run: Run, tenant: Tenant
) -> None:
    workspace, seen = tenant.workspaces[0], []
    for verb in ("archive", "unarchive"):
        run("workspace", verb, workspace.id)
        found = await _holder(servers, superuser, workspace.key or "")
        seen.append(found is not None and found["archived"])
    assert seen == [True, False]
    assert await _actions(superuser, tenant.id) == ["workspace.archive", "workspace.unarchive"]


async def test_a_revoked_key_is_nobodys(servers: LocalStack, superuser: Database, run: Run, tenant: Tenant) -> None:
    key = tenant.workspaces[0].key or ""
    found = await _holder(servers, superuser, key)
    assert found is not None
    run("key", "revoke", found["id"])
    found = await _holder(servers, superuser, key)
    assert found is not None
    assert found["revoked"]
    assert "was revoked at" in run("key", "revoke", found["id"], exit_code=1).output
    assert await _actions(superuser, tenant.id) == ["key.revoke", "!key.revoke"]


async def test_a_key_is_bound_to_networks_and_a_time(servers: LocalStack, superuser: Database, run: Run, tenant: Tenant) -> None:
    words = (
        "--workspace",
        tenant.workspaces[0].id,
        "--allow",
        "10.1.2.3/8",
        "--allow",
        "2001:db8::1",
        "--expires",
        "2030-01-01T01:00:00+0100",
    )
    key_id, key = run("key", "create", tenant.id, "Bound", *words).output.split()
    (entry,) = await told(superuser, tenant.id)
    assert entry.metadata == {
        "name": "Bound",
        "prefix": key_prefix(key),
        "scope": "WORKSPACE",
        "workspaceId": str(tenant.workspaces[0].id),
        "expiresAt": "2030-01-01T00:00:00.000000Z",
        "ipAllowlist": ["10.0.0.0/8", "2001:db8::1/128"],
    }
    found = await _holder(servers, superuser, key)
    assert found is not None
    assert [str(each) for each in found["ip_allowlist"]] == ["10.0.0.0/8", "2001:db8::1/128"]
    assert found["expires_at"] == 1_893_456_000_000_000
    run("key", "allow", key_id)
    found = await _holder(servers, superuser, key)
    assert found is not None
    assert found["ip_allowlist"] == []


async def test_overrides_are_merged_checked_and_taken_back(servers: LocalStack, superuser: Database, run: Run) -> None:
    company = servers.tenant(overrides={}).id
    run("company", "override", company, "requestsPerMinute=null", "webhooks=7")
    assert json.loads(run("company", "override", company, "webhooks=", "hotDays=8").output) == {"requestsPerMinute": None, "hotDays": 8}
    for wrong, reason in (("hotDays=0", "hotDays: must be"), ("hotDay=1", "no plan has such a member"), ("hotDays=x", "is not JSON")):
        assert reason in run("company", "override", company, wrong, exit_code=2).output
    assert json.loads(await superuser.fetchval("SELECT overrides FROM company WHERE id = $1", company)) == {
        "requestsPerMinute": None,
        "hotDays": 8,
    }
    assert await _actions(superuser, company) == ["company.override"] * 2


@pytest.mark.parametrize(
    "command",
    [
        "company plan {} FREE",
        "company override {} hotDays=1",
        "company show {}",
        "workspace create {} X",
        "workspace archive {}",
        "project create {} X",
        "key create {} X",
        "key allow {}",
        "key revoke {}",
        "key rotate {}",
        "workspace list {}",
        "project list {}",
        "key list {}",
    ],
)
def test_what_is_in_no_region_is_told(run: Run, command: str) -> None:
    assert re.search("there is no .* in US, EU, UK, AU", run(*command.format(uuid4()).split(), exit_code=1).output)


@pytest.mark.parametrize(
    ("command", "action"),
    [
        ("workspace archive {}", "workspace.archive"),
        ("project create {} X", "project.create"),
        ("key create {company} X --workspace {}", "key.create"),
    ],
)
async def test_an_audit_workspace_is_left_alone(superuser: Database, run: Run, tenant: Tenant, command: str, action: str) -> None:
    audit = await superuser.fetchval("SELECT id FROM workspace WHERE company_id = $1 AND kind = 'AUDIT'", tenant.id)
    assert "AUDIT workspace is read-only" in run(*command.format(audit, company=tenant.id).split(), exit_code=1).output
    (entry,) = await told(superuser, tenant.id)
    assert (entry.action, entry.outcome, entry.target) == (action, "DENIED", {"id": str(audit), "type": "workspace"})
    assert "AUDIT workspace is read-only" in entry.metadata["reason"]


def test_a_key_is_not_made_for_another_companys_workspace(servers: LocalStack, run: Run, tenant: Tenant) -> None:
    foreign = servers.tenant().workspaces[0].id
    assert "is not of company" in run("key", "create", tenant.id, "X", "--workspace", foreign, exit_code=1).output


async def test_a_key_is_not_made_for_an_archived_workspace(superuser: Database, run: Run, tenant: Tenant) -> None:
    workspace = tenant.workspaces[0].id
    run("workspace", "archive", workspace)
    assert "it gets no keys" in run("key", "create", tenant.id, "X", "--workspace", workspace, exit_code=1).output
    assert "it gets no projects" in run("project", "create", workspace, "X", exit_code=1).output
    assert await _actions(superuser, tenant.id) == ["workspace.archive", "!key.create", "!project.create"]


async def test_a_rotated_key_gives_way_to_one_like_it(servers: LocalStack, superuser: Database, run: Run, tenant: Tenant) -> None:
    """By the rules of the API: the old one is good for the overlap, and can't be rotated again."""
    old_id, _old = run("key", "create", tenant.id, "Bound", "--workspace", tenant.workspaces[0].id, "--allow", "10.0.0.0/8").output.split()
    made = json.loads(run("key", "rotate", old_id, "--overlap", 60, "--json").output)
    rows = {str(row["id"]): row for row in await superuser.fetch("SELECT * FROM api_key WHERE company_id = $1", tenant.id)}
    old, new = rows[old_id], rows[made["id"]]
    assert [new[name] for name in ("workspace_id", "name", "ip_allowlist", "expires_at")] == [
        *(old[name] for name in ("workspace_id", "name", "ip_allowlist")),
        None,
    ]
    assert old["rotated_to"] == new["id"]
    assert old["expires_at"] - new["created_at"] == 60_000_000
    assert (made["status"], made["previous"]["status"], made["previous"]["id"]) == ("ACTIVE", "ROTATED", old_id)
    found = await _holder(servers, superuser, made["key"])
    assert found is not None
    assert str(found["id"]) == made["id"]
    assert "only an active key can be rotated" in run("key", "rotate", old_id, exit_code=1).output
    assert await _actions(superuser, tenant.id) == ["key.create", "key.rotate", "!key.rotate"]
    assert (await told(superuser, tenant.id))[1].metadata["newKeyId"] == made["id"]


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", "\x7f", "\udcff"])
@pytest.mark.parametrize(
    "command", ["company create {} --region us", "workspace create COMPANY {}", "project create PROJECT {}", "key create COMPANY {}"]
)
def test_what_is_no_name_is_refused_before_anything_is_made(run: Run, tenant: Tenant, command: str, name: str) -> None:
    ids = {"COMPANY": tenant.id, "PROJECT": tenant.workspaces[0].id, "{}": name}
    assert "name: must have" in run(*(ids.get(word, word) for word in command.split()), exit_code=2).output


def test_what_is_archived_already_is_told(run: Run, tenant: Tenant) -> None:
    workspace = tenant.workspaces[0].id
    assert "is not archived already" in run("workspace", "unarchive", workspace, exit_code=1).output
    run("workspace", "archive", workspace)
    assert "is archived already" in run("workspace", "archive", workspace, exit_code=1).output


def test_lists_show_what_is_there_and_no_key(servers: LocalStack, run: Run, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("company", "show", tenant.id).output
    assert str(tenant.workspaces[0].project_id) in shown
    assert (tenant.key or "")[:18] in shown
    assert (tenant.key or "") not in shown
    assert str(tenant.id) in run("company", "list", "--region", "us").output


def test_ids_are_whole_on_a_narrow_terminal(run: Run, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what the other commands take."""
    monkeypatch.setenv("COLUMNS", "80")
    assert str(tenant.workspaces[0].project_id) in run("company", "show", tenant.id).output
    assert str(tenant.id) in run("company", "list", "--region", "us").output


async def test_the_first_company_is_audited_from_its_first_moment(servers: LocalStack) -> None:
    first: Any = seed(servers.settings(Role.ADMIN), SeedSettings(seed_region=Region.AU), overrides={"requestsPerMinute": None})
    connection = await asyncpg.connect(servers.superuser_url(Region.AU))
    try:
        assert (await _actions(connection, first.id))[:2] == ["company.create", "key.create"]
    finally:
        await connection.close()


async def _endpoints(superuser: Database, tenant: Tenant, count: int) -> list[str]:
    """Enabled webhooks of the company, a second apart; the ids of the oldest first."""
    return [
        str(
            await superuser.fetchval(
                "INSERT INTO webhook (id, company_id, workspace_id, url, events, from_seq, secret, created_at) "
                "VALUES ($1, $2, $3, 'https://hooks.example.com/', '{AUDIT_EVENT_CREATED}', 1, '', now() + $4 * interval '1 second') "
                "RETURNING id",
                uuid4(), tenant.id, tenant.workspaces[0].id, number,
            )
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "kept"), [("company plan {} FREE", 0), ("company override {} webhooks=1", 1), ("company plan {} ENTERPRISE", 3)]
)
async def test_the_newest_webhooks_that_a_plan_has_no_room_for_are_disabled_with_it(
    superuser: Database, tenant: Tenant, run: Run, command: str, kept: int
) -> None:
    """In the same transaction and entry; nothing is deleted, and those of other companies stay."""
    *webhooks, disabled = await _endpoints(superuser, tenant, 4)
    gone = "UPDATE webhook SET enabled = false, disabled_reason = 'GONE', disabled_at = now() WHERE id = $1"
    await superuser.execute(gone, UUID(disabled))
    output = run(*command.format(tenant.id).split()).output
    rows = await superuser.fetch("SELECT id, enabled, disabled_reason FROM webhook WHERE company_id = $1", tenant.id)
    expected = {each: (number < kept, None if number < kept else "PLAN") for number, each in enumerate(webhooks)}
    assert {str(row["id"]): (row["enabled"], row["disabled_reason"]) for row in rows} == expected | {disabled: (False, "GONE")}
    (entry,) = await told(superuser, tenant.id)
    surplus = webhooks[kept:]
    assert sorted((entry.metadata or {}).get("disabledWebhooks", ())) == sorted(surplus)
    assert all(each in output for each in surplus)
