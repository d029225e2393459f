"""What a workspace may send: its own projects, its plan's categories, nothing once it is archived."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.doors import api, bearer, execute, ingest
from tests.support.posting import BATCH, LEAST, SINGLE
from tests.support.stack import LocalStack


def of_project(project: object) -> dict[str, Any]:
    return LEAST | {"projectId": str(project)}


def refusal(answer: httpx.Response) -> tuple[int, str, list[dict[str, Any]]]:
    return answer.status_code, answer.json()["code"], answer.json().get("details", [])


async def test_a_project_must_be_the_workspaces_own(stack: LocalStack) -> None:
    """An unknown one and a foreign one are refused in the same words, so that nobody learns which ids exist."""
    tenant, stranger = stack.tenant(workspaces=2), stack.tenant()
    own, other = tenant.workspaces
    async with ingest(stack) as client:
        for _ in range(2):  # the second time from the cache
            answer = await client.post(SINGLE, json=of_project(own.project_id), headers=bearer(own.key))
            assert answer.status_code == 202
            refusals = [
                refusal(await client.post(SINGLE, json=of_project(project), headers=bearer(own.key)))
                for project in (uuid4(), other.project_id, stranger.workspaces[0].project_id)
            ]
            expected = (400, "VALIDATION_ERROR", [{"field": "projectId", "message": "is not a project of this workspace"}])
            assert refusals == [expected] * 3


async def test_a_batch_names_the_events_with_another_project(stack: LocalStack) -> None:
    own = stack.tenant().workspaces[0]
    events = [of_project(own.project_id), of_project(uuid4()), LEAST, of_project(uuid4())]
    async with ingest(stack) as client:
        status, code, details = refusal(await client.post(BATCH, json=events, headers=bearer(own.key)))
    assert (status, code, [(each["index"], each["field"]) for each in details]) == (
        400,
        "VALIDATION_ERROR",
        [(1, "projectId"), (3, "projectId")],
    )


@pytest.mark.parametrize(("plan", "status"), [("FREE", 403), ("STARTER", 202)])
async def test_custom_categories_need_a_plan(stack: LocalStack, plan: Any, status: int) -> None:
    own = stack.tenant(plan=plan).workspaces[0]
    custom = LEAST | {"category": "custom.thing"}
    async with ingest(stack) as client:
        assert (await client.post(SINGLE, json=LEAST, headers=bearer(own.key))).status_code == 202
        single = await client.post(SINGLE, json=custom, headers=bearer(own.key))
        batch = await client.post(BATCH, json=[LEAST, custom], headers=bearer(own.key))
    assert single.status_code == batch.status_code == status
    if status == 403:
        message = "the company's plan takes the standard categories only"
        assert refusal(single) == (403, "PLAN_RESTRICTED", [{"field": "category", "message": message}])
        assert refusal(batch) == (403, "PLAN_RESTRICTED", [{"index": 1, "field": "category", "message": message}])


async def test_an_archived_workspace_takes_no_events_and_can_be_read(stack: LocalStack) -> None:
    own = stack.tenant().workspaces[0]
    await execute(stack, "UPDATE workspace SET archived_at = now() WHERE id = $1", own.id)
    async with ingest(stack) as client, api(stack) as reading:
        for path, body in ((SINGLE, LEAST), (BATCH, [LEAST])):
            answer = await client.post(path, json=body, headers=bearer(own.key))
            assert (answer.status_code, answer.json()["code"]) == (403, "WORKSPACE_ARCHIVED")
        assert (await reading.get("/v1/events", headers=bearer(own.key))).status_code == 200
