"""The AUDIT workspace of a company, from a call to a verified chain: read with the company key, written by nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from ops.local.environment import Role, service_environ
from ops.local.process import wait_for
from ops.seed import Tenant
from schemas.topics import Region
from tests.support.commanding import run_here
from tests.support.managing import audit_workspace, bind
from tests.support.stack import LocalStack

PATIENCE = 30.0


@dataclass(frozen=True)
class Company:
    """A company whose key may manage, its AUDIT workspace, and a client of the gateway."""

    tenant: Tenant
    audit: str
    client: httpx.Client

    def post(self, path: str, body: Any, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.tenant.key}", "X-Trace-Id": uuid4().hex}
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, key: str | None = None, **parameters: str) -> httpx.Response:
        return self.client.get(path, params=parameters, headers={"Authorization": f"Bearer {key or self.tenant.key}"})

    def entries(self, count: int) -> list[dict[str, Any]]:
        """The entries as the company key reads them, oldest first, once there are so many."""

        def page() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = self.get("/v1/events", workspaceId=self.audit, order="asc").json()["data"]
            return found

        assert wait_for(lambda: len(page()) >= count, PATIENCE)
        return page()


@pytest.fixture
async def company(stack: LocalStack) -> AsyncIterator[Company]:
    tenant = stack.tenant()
    superuser = await asyncpg.connect(stack.superuser_url())
    await bind(superuser, tenant)
    audit = await audit_workspace(superuser, tenant.id)
    await superuser.close()
    with httpx.Client(base_url=stack.base_url, verify=False) as client:
        yield Company(tenant, str(audit), client)


@pytest.fixture
def relay(stack: LocalStack) -> Iterator[httpx.Client]:
    """A client of the relay's own HTTP server."""
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.state.port('relay')}", verify=False) as client:
        yield client


def test_actions_and_refusals_are_read_queried_and_verified_like_any_event(company: Company, stack: LocalStack) -> None:
    workspace = company.tenant.workspaces[0]
    path = f"/v1/workspaces/{workspace.id}/keys"
    answers = [company.post(path, {"name": "Robot"}), company.post(path, {"name": ""}), company.post(path, {"name": "x"}, workspace.key)]
    answers.append(company.post(f"/v1/keys/{answers[0].json()['id']}/rotate", {}))
    assert [answer.status_code for answer in answers] == [201, 400, 403, 201]
    entries = company.entries(4)
    assert [each["traceId"] for each in entries] == [answer.headers["x-trace-id"] for answer in answers]
    assert [each["outcome"] for each in entries] == ["SUCCESS", "DENIED", "DENIED", "SUCCESS"]
    assert [each["action"] for each in entries] == ["key.create"] * 3 + ["key.rotate"]
    assert {each["category"] for each in entries} == {"admin"}
    assert [each["seq"] for each in entries] == [1, 2, 3, 4]
    assert entries[0]["context"]["ipAddress"] == "127.0.0.1"
    assert company.get(f"/v1/workspaces/{company.audit}/chain").json()["seq"] == 4
    assert company.get(f"/v1/events/{entries[0]['id']}").json()["verification"]["v"] == 1
    words = ("verify", "--region", company.tenant.region, "--workspace", company.audit)
    done = run_here(stack.state.root, words, service_environ(stack.state, Role.AUDITOR))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{company.tenant.region}: 4 events of 1 workspaces")


def test_only_the_company_key_sees_the_audit(company: Company, stack: LocalStack) -> None:
    """A workspace key may know nothing of what is done to others."""
    assert company.post(f"/v1/workspaces/{company.tenant.workspaces[0].id}/keys", {"name": "Robot"}).status_code == 201
    (entry,) = company.entries(1)
    for key in (company.tenant.workspaces[0].key, stack.tenant().key):
        assert company.get(f"/v1/events/{entry['id']}", key).status_code == 404
        assert company.get("/v1/events", key, workspaceId=company.audit).json()["data"] == []
        assert company.get(f"/v1/workspaces/{company.audit}/chain", key).status_code == 404


def test_nobody_posts_to_the_audit(company: Company) -> None:
    """Ingest writes to a key's own workspace; a company key has none, and there is no key of an AUDIT workspace."""
    event = {"category": "admin", "action": "key.create"}
    assert company.post("/v1/events", event).status_code == 403
    assert company.post(f"/v1/workspaces/{company.audit}/keys", {"name": "x"}).status_code == 403
    own = company.post("/v1/events", event, company.tenant.workspaces[0].key)
    assert own.status_code == 202
    assert wait_for(lambda: company.get(f"/v1/events/{own.json()['id']}").status_code == 200, PATIENCE)
    assert company.get(f"/v1/events/{own.json()['id']}").json()["workspaceId"] == str(company.tenant.workspaces[0].id)
    assert [each["outcome"] for each in company.entries(1)] == ["DENIED"]


def test_the_relay_tells_how_it_is(relay: httpx.Client, stack: LocalStack) -> None:
    assert wait_for(lambda: relay.get("/ready").status_code == 200, PATIENCE)
    inside = {"x-internal-token": stack.internal_token}
    health = relay.get("/internal/health", headers=inside).json()
    assert (health["status"], health["service"], health["missing"]) == ("ok", "hyrelog-relay", [])
    empty = {f'hyrelog_relay_outbox_entries{{region="{region}"}} 0.0' for region in Region}
    assert wait_for(lambda: empty <= set(relay.get("/internal/metrics", headers=inside).text.splitlines()), PATIENCE)
    assert relay.get("/internal/metrics").status_code == 401
