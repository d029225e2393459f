"""The Postman collection runs from top to bottom against a running stack, by Postman's own runner."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ops.local.envfile import postman_environment
from ops.seed import Tenant
from tests.support import node
from tests.support.managing import bind
from tests.support.neighbours import archived
from tests.support.stack import LocalStack

COLLECTION = Path(__file__).parents[3] / "ops" / "docs" / "hyrelog.postman_collection.json"


@pytest.fixture
async def tenant(stack: LocalStack) -> AsyncIterator[Tenant]:
    """A company with a key that may manage, and with a cold archive."""
    tenant = stack.tenant()
    superuser = await asyncpg.connect(stack.superuser_url())
    await bind(superuser, tenant)
    await superuser.close()
    async with archived(stack, tenant.id):
        yield tenant


@pytest.fixture
def environment(stack: LocalStack, tenant: Tenant, tmp_path: Path) -> Path:
    """The file that ``hyrelog demo`` writes, for that company."""
    workspace = tenant.workspaces[0]
    values = {
        "HYRELOG_URL": stack.base_url,
        "HYRELOG_WORKSPACE_KEY": workspace.key or "",
        "HYRELOG_COMPANY_KEY": tenant.key or "",
        "HYRELOG_INTERNAL_TOKEN": stack.internal_token,
        "HYRELOG_DASHBOARD_TOKEN": stack.dashboard_token,
        "HYRELOG_COMPANY_ID": str(tenant.id),
        "HYRELOG_WORKSPACE_ID": str(workspace.id),
        "HYRELOG_PROJECT_ID": str(workspace.project_id),
    }
    path = tmp_path / "environment.json"
    path.write_text(postman_environment(values))
    return path


def test_every_request_succeeds_and_passes_its_own_tests(environment: Path, tmp_path: Path) -> None:
    ran = newman(environment, tmp_path / "run.json")
    answers = {each["item"]["name"]: each["response"]["code"] for each in ran["executions"]}
    assert {name: status for name, status in answers.items() if status >= 300} == {}
    assert ran["failures"] == []
    assert len(answers) == len([item for folder in json.loads(COLLECTION.read_text())["item"] for item in folder["item"]])


def newman(environment: Path, report: Path) -> dict[str, Any]:
    """What newman says of its run."""
    newman = node.modules() / "newman" / "bin" / "newman.js"
    arguments = ["run", str(COLLECTION), "-e", str(environment), "-r", "json", "--reporter-json-export", str(report)]
    done = subprocess.run([node.node(), str(newman), *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert report.exists(), done.stdout + done.stderr
    ran: dict[str, Any] = json.loads(report.read_text())["run"]
    return ran
