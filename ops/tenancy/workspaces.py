"""``hyrelog workspace`` and ``hyrelog project``: what a company's events are sorted into."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from ops.output import AsJson, echo_json, listing
from ops.tenancy import shown
from ops.tenancy.holding import NewName, Where, holding
from ops.tenancy.terms import KeyTerms, Kind


def workspace_create(company: UUID, name: NewName, region: Where = None, as_json: AsJson = False) -> None:
    """Make a workspace with a workspace key, which is shown this once."""
    with holding(Kind.COMPANY, company, region) as registry:
        workspace = registry.add_workspace(company, name)
        key = registry.add_key(company, workspace, KeyTerms("First workspace key"))
        made = shown.workspace(registry, company, workspace) | {"firstKey": shown.new_key(registry, company, key)}
    if as_json:
        echo_json(made)
    else:
        typer.echo(f"{workspace}\n{key.text}")


def workspace_list(company: UUID, region: Where = None, as_json: AsJson = False) -> None:
    """List a company's workspaces, its AUDIT workspace too."""
    with holding(Kind.COMPANY, company, region) as registry:
        rows = shown.workspaces(registry, company)
    listing(rows, shown.WORKSPACE, as_json=as_json)


def workspace_archive(id: UUID, region: Where = None) -> None:
    """Let a workspace take no more events, within ten seconds; it can still be read."""
    with holding(Kind.WORKSPACE, id, region) as registry:
        registry.set_archived(id, True)


def workspace_unarchive(id: UUID, region: Where = None) -> None:
    """Let an archived workspace take events again."""
    with holding(Kind.WORKSPACE, id, region) as registry:
        registry.set_archived(id, False)


def project_create(workspace: UUID, name: NewName, region: Where = None, as_json: AsJson = False) -> None:
    """Make a project."""
    with holding(Kind.WORKSPACE, workspace, region) as registry:
        project = registry.add_project(workspace, name)
        made = shown.project(registry, workspace, project)
    if as_json:
        echo_json(made)
    else:
        typer.echo(str(project))


def project_list(
    company: UUID,
    workspace: Annotated[UUID | None, typer.Option(help="Only this workspace's.")] = None,
    region: Where = None,
    as_json: AsJson = False,
) -> None:
    """List a company's projects."""
    with holding(Kind.COMPANY, company, region) as registry:
        rows = shown.projects(registry, company, workspace)
    listing(rows, shown.PROJECT, as_json=as_json)
