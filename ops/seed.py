"""``hyrelog seed``: a first company with a workspace, a project and a key of each kind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import psycopg
import typer
from psycopg.rows import TupleRow
from pydantic_settings import BaseSettings

from ops.db import load_queries
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.keys import ENTROPY_BYTES, Scope, hash_key, key_prefix, make_key
from schemas.topics import Region

COMPANY, WORKSPACE, PROJECT = "Acme Corp", "Production", "Main App"

Plan = Literal["FREE", "STARTER", "GROWTH", "ENTERPRISE"]
Entropy = Callable[[Scope], bytes]


class SeedSettings(BaseSettings):
    """Where the first company lives, and on which plan."""

    seed_region: Region = Region.US
    seed_plan_tier: Plan = "GROWTH"


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


def random_entropy(_scope: Scope) -> bytes:
    """24 bytes for a new key."""
    return secrets.token_bytes(ENTROPY_BYTES)


def seed(settings: Settings, choice: SeedSettings, entropy: Entropy = random_entropy) -> Tenant:
    """The first company of the chosen region: found by its name, or made."""
    with _seeding(settings, choice.seed_region, entropy) as seeder:
        return seeder.find(COMPANY) or seeder.create(COMPANY, choice.seed_plan_tier, (WORKSPACE,))


def create_tenant(settings: Settings, region: Region, name: str, *, plan: Plan = "GROWTH", workspaces: int = 1) -> Tenant:
    """A new company with that many workspaces, named ``Workspace 1`` and so on."""
    with _seeding(settings, region, random_entropy) as seeder:
        return seeder.create(name, plan, tuple(f"Workspace {number}" for number in range(1, workspaces + 1)))


@contextmanager
def _seeding(settings: Settings, region: Region, entropy: Entropy) -> Iterator[_Seeder]:
    secret = settings.api_key_secret.get_secret_value().encode()
    with psycopg.connect(settings.database_url(region), cursor_factory=psycopg.RawCursor) as connection:
        seeder = _Seeder(connection, secret, region, entropy)
        seeder.run("one_at_a_time")
        yield seeder


class _Seeder:
    """One transaction in one region's database, as its owner."""

    def __init__(self, connection: psycopg.Connection, secret: bytes, region: Region, entropy: Entropy) -> None:
        self._connection = connection
        self._secret = secret
        self._region = region
        self._entropy = entropy
        self._queries = load_queries("ops", "seed.sql")

    def find(self, name: str) -> Tenant | None:
        row = self.run("find_tenant", name).fetchone()
        if row is None:
            return None
        company, workspace, project = row
        return Tenant(self._region, company, None, (Workspace(workspace, project, None),))

    def create(self, name: str, plan: Plan, workspaces: tuple[str, ...]) -> Tenant:
        company = self._insert("insert_company", name, plan)
        key = self._key(Scope.COMPANY, company, None)
        return Tenant(self._region, company, key, tuple(self._workspace(company, each) for each in workspaces))

    def _workspace(self, company: UUID, name: str) -> Workspace:
        workspace = self._insert("insert_workspace", company, name)
        project = self._insert("insert_project", company, workspace, PROJECT)
        return Workspace(workspace, project, self._key(Scope.WORKSPACE, company, workspace))

    def _key(self, scope: Scope, company: UUID, workspace: UUID | None) -> str:
        key = make_key(self._region, scope, self._entropy(scope))
        name = "First company key" if workspace is None else "First workspace key"
        self.run("insert_key", company, workspace, hash_key(self._secret, key), key_prefix(key), name)
        return key

    def _insert(self, query: str, *arguments: object) -> UUID:
        row = self.run(query, *arguments).fetchone()
        if row is None:
            raise LookupError(f"{query} returned no id")
        found: UUID = row[0]
        return found

    def run(self, query: str, *arguments: object) -> psycopg.Cursor[TupleRow]:
        return self._connection.execute(self._queries[query].encode(), arguments)


def register(app: typer.Typer) -> None:
    """Add the command ``seed``."""
    app.command("seed")(seed_command)


def seed_command() -> None:
    """Make the first company (SEED_REGION, SEED_PLAN_TIER); run again, say what is there."""
    tenant = seed(settings_of(Settings, ambient_environ(Role.OWNER)), SeedSettings())
    workspace = tenant.workspaces[0]
    typer.echo(f"{COMPANY} ({tenant.region}) {tenant.id}\n{WORKSPACE} {workspace.id}\n{PROJECT} {workspace.project_id}")
    if tenant.key is None:
        typer.echo("It was there before: nothing was changed, and its keys can't be shown again.")
    else:
        typer.echo(f"Keys, shown this once:\n{tenant.key}\n{workspace.key}")
