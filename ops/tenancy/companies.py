"""``hyrelog company``: companies, and what their plans allow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from ops.output import AsJson, cell, echo_json, listing, show, table
from ops.regions import Regions, from_each
from ops.tenancy import shown
from ops.tenancy.holding import NewName, Where, acting, holding, operators_settings, told
from ops.tenancy.registry import open_registry
from ops.tenancy.terms import KeyTerms, Kind
from schemas.plans import PlanName
from schemas.topics import Region

_ROW = ("region", "id", "name", "plan", "overrides", "createdAt")


def company_create(
    name: NewName,
    region: Annotated[Region, typer.Option(help="Where it lives, for good.", case_sensitive=False)],
    plan: Annotated[PlanName, typer.Option(help="Its plan.")] = "FREE",
    as_json: AsJson = False,
) -> None:
    """Make a company with a company key, which is shown this once."""
    settings = operators_settings()
    with told(), open_registry(settings, region, acting=acting(settings)) as registry:
        company = registry.add_company(name, plan)
        key = registry.add_key(company, None, KeyTerms("First company key"))
        made = shown.company(registry, company) | {"firstKey": shown.new_key(registry, company, key)}
    if as_json:
        echo_json(made)
    else:
        typer.echo(f"{company}\n{key.text}")


def company_list(
    region: Regions = None,
    search: Annotated[str | None, typer.Option(help="In the name, upper and lower case alike; or a whole id.")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=100_000)] = 200,
    as_json: AsJson = False,
) -> None:
    """List companies, the newest first."""
    settings = operators_settings()

    def ask(each: Region) -> list[shown.Object]:
        with open_registry(settings, each, acting=acting(settings)) as registry:
            return shown.companies(registry, search, limit + 1)

    found, is_whole = from_each(region or settings.regions, ask)
    rows = sorted((row for _region, row in found), key=lambda row: str(row["id"]), reverse=True)
    if len(rows) > limit:
        typer.echo(f"hyrelog: there are more than these {limit}: narrow it down, or take a larger --limit", err=True)
    listing(rows[:limit], _ROW, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)


def company_show(id: UUID, region: Where = None, as_json: AsJson = False) -> None:
    """Show a company, its workspaces, projects and keys."""
    with holding(Kind.COMPANY, id, region) as registry:
        found = shown.company(registry, id)
        parts = {"workspaces": shown.workspaces(registry, id), "projects": shown.projects(registry, id), "keys": shown.keys(registry, id)}
    if as_json:
        echo_json(found | parts)
        return
    show(table(("company", ""), [(name, value) for name, value in found.items() if name != "limits"]))
    show(
        table(
            ("what", "id", "name", "more"), [(kind[:-1], each["id"], each["name"], _more(each)) for kind in parts for each in parts[kind]]
        )
    )


def company_plan(id: UUID, plan: PlanName, region: Where = None) -> None:
    """Put a company on another plan; its overrides stay. The newest webhooks that it has no room for are disabled."""
    with holding(Kind.COMPANY, id, region) as registry:
        surplus = registry.set_plan(id, plan)
    _tell_disabled(surplus)


def company_override(
    id: UUID,
    members: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Values are JSON; `name=` takes an override back.")],
    region: Where = None,
) -> None:
    """Replace members of a company's plan, and print all its overrides."""
    pairs = [member.partition("=") for member in members]
    with holding(Kind.COMPANY, id, region) as registry:
        changes = {name: _value(name, text) for name, _, text in pairs if text}
        after, surplus = registry.override(id, changes, [name for name, _, text in pairs if not text])
    _tell_disabled(surplus)
    echo_json(after)


def _more(each: shown.Object) -> str:
    """What tells it from others of its kind."""
    return str(cell([each[name] for name in ("kind", "workspaceId", "prefix", "status") if each.get(name)]))


def _tell_disabled(webhooks: Sequence[str]) -> None:
    for webhook in webhooks:
        typer.echo(f"hyrelog: webhook {webhook} is disabled: the plan has no room for it", err=True)


def _value(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{name}: {text} is not JSON") from None
