"""``demo.env``: what a client of the local stack needs, in a file that only its owner can read."""

from __future__ import annotations

from pathlib import Path

from ops.local.environment import Role, database_name, database_url, object_store, service_settings
from ops.local.state import State, write_private
from ops.seed import SeedSettings, Tenant, demo_entropy, seed_demo
from schemas.keys import Scope, make_key
from schemas.topics import REGIONS

FILE = "demo.env"


def write_demo_env(state: State) -> Path:
    """Seed the demo's company where it is missing and write the file. Returns its path."""
    tenant = seed_demo(state, service_settings(state, Role.ADMIN), SeedSettings())
    path = state.root / FILE
    write_private(path, "".join(f"{name}={value}\n" for name, value in _values(state, tenant).items()))
    return path


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
        "HYRELOG_KAFKA": f"127.0.0.1:{state.port('kafka')}",
        **{f"HYRELOG_DATABASE_URL_{each}": database_url(state, Role.AUDITOR, database_name(each)) for each in REGIONS},
        **{f"HYRELOG_SUPERUSER_URL_{each}": database_url(state, Role.SUPERUSER, database_name(each)) for each in REGIONS},
        **{f"HYRELOG_{name}": value for name, value in object_store(state).items()},
    }
