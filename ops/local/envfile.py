"""``demo.env``: what a client of the local stack needs, in a file that only its owner can read; and the same for Postman."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ops.local.environment import Role, database_name, database_url, object_store, service_settings
from ops.local.state import State, write_private
from ops.seed import SeedSettings, Tenant, demo_entropy, seed_demo
from schemas.keys import Scope, make_key
from schemas.topics import REGIONS

FILE = "demo.env"
POSTMAN_FILE = "hyrelog.postman_environment.json"
_POSTMAN_NAMES = {
    "HYRELOG_URL": "baseUrl",
    "HYRELOG_WORKSPACE_KEY": "workspaceKey",
    "HYRELOG_COMPANY_KEY": "companyKey",
    "HYRELOG_INTERNAL_TOKEN": "internalToken",
    "HYRELOG_DASHBOARD_TOKEN": "dashboardToken",
    "HYRELOG_COMPANY_ID": "companyId",
    "HYRELOG_WORKSPACE_ID": "workspaceId",
    "HYRELOG_PROJECT_ID": "projectId",
}


def write_demo_env(state: State) -> Path:
    """Seed the demo's company where it is missing and write both files. Returns the first one's path."""
    tenant = seed_demo(state, service_settings(state, Role.ADMIN), SeedSettings())
    path = state.root / FILE
    values = _values(state, tenant)
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))
    write_private(state.root / POSTMAN_FILE, postman_environment(values))
    return path


def postman_environment(values: Mapping[str, str]) -> str:
    """The variables of ``demo.env`` under the names that the Postman collection has for them, as a file that Postman imports."""
    named = [{"key": name, "value": values[ours], "type": "secret", "enabled": True} for ours, name in _POSTMAN_NAMES.items()]
    return json.dumps({"name": "HyreLog demo", "values": named, "_postman_variable_scope": "environment"}, indent=2)


def read_env(path: Path) -> dict[str, str]:
    """The file's variables."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _values(state: State, tenant: Tenant) -> dict[str, str]:
    workspace = tenant.workspaces[0]
    return {
        "HYRELOG_URL": f"http://127.0.0.1:{state.port('gateway')}",
        "HYRELOG_REGION": tenant.region.value,
        "HYRELOG_COMPANY_ID": str(tenant.id),
        "HYRELOG_COMPANY_KEY": make_key(tenant.region, Scope.COMPANY, demo_entropy(state, Scope.COMPANY)),
        "HYRELOG_WORKSPACE_ID": str(workspace.id),
        "HYRELOG_WORKSPACE_KEY": make_key(tenant.region, Scope.WORKSPACE, demo_entropy(state, Scope.WORKSPACE)),
        "HYRELOG_PROJECT_ID": str(workspace.project_id),
        "HYRELOG_INTERNAL_TOKEN": state.secret("internal_token"),
        "HYRELOG_DASHBOARD_TOKEN": state.secret("dashboard_service_token"),
        "HYRELOG_KAFKA": f"127.0.0.1:{state.port('kafka')}",
        **{f"HYRELOG_DATABASE_URL_{each}": database_url(state, Role.AUDITOR, database_name(each)) for each in REGIONS},
        **{f"HYRELOG_SUPERUSER_URL_{each}": database_url(state, Role.SUPERUSER, database_name(each)) for each in REGIONS},
        **{f"HYRELOG_{name}": value for name, value in object_store(state).items()},
    }
