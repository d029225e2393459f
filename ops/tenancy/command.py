"""``hyrelog company | workspace | project | key``: what an operator does about tenants. Changes are audited in the company's own log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer
from rich.console import Console
from rich.table import Column, Table

from ops.addresses import network
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from ops.tenancy.registry import KeyTerms, Kind, Refused, Registry, open_registry
from schemas.plans import PlanName
from schemas.topics import Region

Where = Annotated[Region | None, typer.Option("--region", help="Its region; without it, all served ones are asked.", case_sensitive=False)]
NewName = Annotated[str, typer.Argument(help="Its name.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="Address or CIDR it may be used from; may be given more than once.")]


def register(app: typer.Typer) -> None:
    """Add the commands, grouped by noun."""
    groups = {
        "company": ("Companies and their plans.", (company_create, company_list, company_show, company_plan, company_override)),
        "workspace": ("Workspaces.", (workspace_create, workspace_archive, workspace_unarchive)),
        "project": ("Projects.", (project_create,)),
        "key": ("API keys.", (key_create, key_allow, key_revoke)),
    }
    for noun, (words, commands) in groups.items():
        group = typer.Typer(no_args_is_help=True, help=words)
        for command in commands:
            group.command(command.__name__.removeprefix(f"{noun}_"))(command)
        app.add_typer(group, name=noun)


def company_create(
    name: NewName,
    region: Annotated[Region, typer.Option(help="Where it lives, for good.", case_sensitive=False)],
    plan: Annotated[PlanName, typer.Option(help="Its plan.")] = "FREE",
) -> None:
    """Make a company with a company key, which is shown this once."""
    with _told(), open_registry(_settings(), region) as registry:
        company = registry.add_company(name, plan)
        key = registry.add_key(company, None, KeyTerms("First company key"))
    typer.echo(f"{company}\n{key.text}")


def company_list(region: Where = None) -> None:
    """List companies."""
    table = Table("region", _id_column(), "name", "plan", "overrides")
    settings = _settings()
    for each in (region,) if region else settings.regions:
        with _told(), open_registry(settings, each) as registry:
            for company, name, plan, overrides in registry.run("companies"):
                table.add_row(each, str(company), name, plan, json.dumps(overrides))
    Console().print(table)


def company_show(id: UUID, region: Where = None) -> None:
    """Show a company's workspaces, projects and keys."""
    table = Table("what", _id_column(), "name", "")
    with _holding(Kind.COMPANY, id, region) as registry:
        for query in ("workspaces", "projects", "keys"):
            for found, name, *rest in registry.run(query, id):
                table.add_row(query[:-1], str(found), name, " ".join(map(str, rest)))
    Console().print(table)


def company_plan(id: UUID, plan: PlanName, region: Where = None) -> None:
    """Put a company on another plan; its overrides stay. The newest webhooks that it has no room for are disabled."""
    with _holding(Kind.COMPANY, id, region) as registry:
        surplus = registry.set_plan(id, plan)
    _tell_disabled(surplus)


def company_override(
    id: UUID,
    members: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Values are JSON; `name=` takes an override back.")],
    region: Where = None,
) -> None:
    """Replace members of a company's plan, and print all its overrides."""
    pairs = [member.partition("=") for member in members]
    with _holding(Kind.COMPANY, id, region) as registry:
        changes = {name: _value(name, text) for name, _, text in pairs if text}
        after, surplus = registry.override(id, changes, [name for name, _, text in pairs if not text])
    _tell_disabled(surplus)
    typer.echo(json.dumps(after))


def workspace_create(company: UUID, name: NewName, region: Where = None) -> None:
    """Make a workspace with a workspace key, which is shown this once."""
    with _holding(Kind.COMPANY, company, region) as registry:
        workspace = registry.add_workspace(company, name)
        key = registry.add_key(company, workspace, KeyTerms("First workspace key"))
    typer.echo(f"{workspace}\n{key.text}")


def workspace_archive(id: UUID, region: Where = None) -> None:
    """Let a workspace take no more events, within ten seconds; it can still be read."""
    with _holding(Kind.WORKSPACE, id, region) as registry:
        registry.set_archived(id, True)


def workspace_unarchive(id: UUID, region: Where = None) -> None:
    """Let an archived workspace take events again."""
    with _holding(Kind.WORKSPACE, id, region) as registry:
        registry.set_archived(id, False)


def project_create(workspace: UUID, name: NewName, region: Where = None) -> None:
    """Make a project."""
    with _holding(Kind.WORKSPACE, workspace, region) as registry:
        project = registry.add_project(workspace, name)
    typer.echo(str(project))


def key_create(
    company: UUID,
    name: NewName,
    workspace: Annotated[UUID | None, typer.Option(help="The workspace that it is for; without it, it is the company's.")] = None,
    allow: Allow = None,
    expires: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Until when it is good.")] = None,
    region: Where = None,
) -> None:
    """Make a key, which is shown this once."""
    with _holding(Kind.COMPANY, company, region) as registry:
        key = registry.add_key(company, workspace, KeyTerms(name, _networks(allow), expires))
    typer.echo(f"{key.id}\n{key.text}")


def key_allow(
    id: UUID,
    networks: Annotated[list[str] | None, typer.Argument(help="Addresses and CIDR; none: it may be used from anywhere.")] = None,
    region: Where = None,
) -> None:
    """Replace the addresses that a key may be used from."""
    with _holding(Kind.KEY, id, region) as registry:
        registry.set_allowlist(id, _networks(networks))


def key_revoke(id: UUID, region: Where = None) -> None:
    """Revoke a key: within ten seconds nobody gets in with it."""
    with _holding(Kind.KEY, id, region) as registry:
        registry.revoke_key(id)


def _settings() -> Settings:
    return settings_of(Settings, ambient_environ(Role.ADMIN))


def _id_column() -> Column:
    """Whole, however narrow the terminal: it is what the commands take."""
    return Column("id", no_wrap=True, min_width=36)


@contextmanager
def _holding(kind: Kind, id: UUID, region: Region | None) -> Iterator[Registry]:
    """The transaction in the region that has it. Exits with 1 when none has."""
    settings = _settings()
    regions = (region,) if region else settings.regions
    with _told():
        for each in regions:
            with open_registry(settings, each) as registry:
                if registry.has(kind, id):
                    yield registry
                    return
        raise Refused(f"there is no {kind} {id} in {', '.join(regions)}")


@contextmanager
def _told() -> Iterator[None]:
    """What is refused, or can't be had, is told in a sentence, and the command exits with 1."""
    try:
        yield
    except (Refused, ValueError, psycopg.Error) as error:
        typer.echo(f"hyrelog: {error}", err=True)
        raise typer.Exit(code=1) from None


def _tell_disabled(webhooks: Sequence[str]) -> None:
    for webhook in webhooks:
        typer.echo(f"hyrelog: webhook {webhook} is disabled: the plan has no room for it", err=True)


def _networks(texts: Sequence[str] | None) -> list[str]:
    return [str(network(text)) for text in texts or ()]


def _value(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{name}: {text} is not JSON") from None
