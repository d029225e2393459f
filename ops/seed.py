"""``hyrelog seed``: a first company with a workspace, a project and a key of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic_settings import BaseSettings

from ops.local.environment import Role, ambient_environ, ambient_stack, settings_of
from ops.local.state import State
from ops.settings import Settings
from ops.tenancy.registry import Refused, Registry, open_registry
from ops.tenancy.reset import reset
from ops.tenancy.terms import Entropy, KeyTerms, random_entropy
from schemas.keys import ENTROPY_BYTES, Scope
from schemas.plans import PlanName
from schemas.topics import Region

COMPANY, WORKSPACE, PROJECT = "Acme Corp", "Production", "Main App"
_DEMO_OVERRIDES = {"requestsPerMinute": None, "eventsPerMinute": None}
_DEMO_ALLOWLIST = ("127.0.0.0/8", "::1/128")
"""Management takes a company key that is bound to addresses; the demo's is bound to this machine."""
_COMPANY_KEY, _WORKSPACE_KEY = KeyTerms("First company key"), KeyTerms("First workspace key")


class SeedSettings(BaseSettings):
    """Where the first company lives, and on which plan."""

    seed_region: Region = Region.US
    seed_plan_tier: PlanName = "GROWTH"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace with a project. ``key`` is ``None`` when the workspace was there before: keys are shown once."""

    id: UUID
    project_id: UUID
    key: str | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A company with its workspaces. ``key`` is ``None`` when the company was there before."""

    region: Region
    id: UUID
    key: str | None
    workspaces: tuple[Workspace, ...]


def seed(
    settings: Settings,
    choice: SeedSettings,
    *,
    entropy: Entropy = random_entropy,
    overrides: Mapping[str, Any] | None = None,
    allowlist: Sequence[str] = (),
) -> Tenant:
    """The first company of the chosen region: found by its name, or made with those overrides of its plan.

    ``allowlist`` is of its company key.
    """
    with open_registry(settings, choice.seed_region, entropy=entropy) as registry:
        registry.run("one_at_a_time")
        return find(registry, COMPANY) or create(registry, COMPANY, choice.seed_plan_tier, (WORKSPACE,), overrides, allowlist)


def seed_demo(state: State, settings: Settings, choice: SeedSettings) -> Tenant:
    """``seed`` for the local stack: load can be tried on its company, and its keys are the stack's own secrets."""
    return seed(settings, choice, entropy=lambda scope: demo_entropy(state, scope), overrides=_DEMO_OVERRIDES, allowlist=_DEMO_ALLOWLIST)


def demo_entropy(state: State, scope: Scope) -> bytes:
    """Of the demo's keys: so that ``demo.env`` can be written again at any time."""
    return bytes.fromhex(state.secret(f"demo.{scope.name.lower()}"))[:ENTROPY_BYTES]


def find(registry: Registry, name: str) -> Tenant | None:
    """A company by its name, without its keys."""
    row = registry.one("find_tenant", name)
    if row is None:
        return None
    company, workspace, project = row
    return Tenant(registry.region, company, None, (Workspace(workspace, project, None),))


def create(
    registry: Registry,
    name: str,
    plan: PlanName,
    workspaces: tuple[str, ...],
    overrides: Mapping[str, Any] | None = None,
    allowlist: Sequence[str] = (),
) -> Tenant:
    """A new company with those workspaces, a project in each, and keys for all."""
    company = registry.add_company(name, plan, overrides)
    key = registry.add_key(company, None, replace(_COMPANY_KEY, allowlist=allowlist)).text
    return Tenant(registry.region, company, key, tuple(_workspace(registry, company, each) for each in workspaces))


def _workspace(registry: Registry, company: UUID, name: str) -> Workspace:
    workspace = registry.add_workspace(company, name)
    project = registry.add_project(workspace, PROJECT)
    return Workspace(workspace, project, registry.add_key(company, workspace, _WORKSPACE_KEY).text)


def register(app: typer.Typer) -> None:
    """Add the command ``seed``."""
    app.command("seed")(seed_command)


def seed_command(
    reset_first: Annotated[bool, typer.Option("--reset", help="First delete all there is of the region, if it is a demo's.")] = False,
) -> None:
    """Make the first company (SEED_REGION, SEED_PLAN_TIER); run again, say what is there."""
    settings, choice = settings_of(Settings, ambient_environ(Role.OWNER if reset_first else Role.ADMIN)), SeedSettings()
    try:
        if reset_first:
            reset(settings, choice.seed_region)
        stack = ambient_stack()
        tenant = seed(settings, choice) if stack is None else seed_demo(stack, settings, choice)
    except Refused as error:
        typer.echo(f"hyrelog: {error}", err=True)
        raise typer.Exit(code=1) from None
    workspace = tenant.workspaces[0]
    typer.echo(f"{COMPANY} ({tenant.region}) {tenant.id}\n{WORKSPACE} {workspace.id}\n{PROJECT} {workspace.project_id}")
    if tenant.key is None:
        typer.echo("It was there before: nothing was changed, and its keys can't be shown again.")
    else:
        typer.echo(f"Keys, shown this once:\n{tenant.key}\n{workspace.key}")
