"""``hyrelog plan``: what the plans allow, where a company has no overrides."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.output import AsJson, echo_json, show, table
from ops.regions import Regions, from_each
from ops.tenancy import shown
from ops.tenancy.holding import acting, operators_settings
from ops.tenancy.registry import open_registry
from schemas.plans import MEMBERS, PLANS, PlanName
from schemas.topics import Region


def plan_list(region: Regions = None, as_json: AsJson = False) -> None:
    """List the plans with their limits. Regions that have another one of that name are told apart."""
    plans, is_whole = _plans(region)
    _print(plans, plans, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)


def plan_show(name: Annotated[PlanName, typer.Argument(help="Which one.")], region: Regions = None, as_json: AsJson = False) -> None:
    """Show a plan's limits."""
    plans, is_whole = _plans(region)
    found = [each for each in plans if each["name"] == name]
    if len(found) > 1:
        typer.echo(f"hyrelog: {name} is not the same in {', '.join(each['regions'][0] for each in found)}: say --region", err=True)
        raise typer.Exit(1)
    for each in found:
        _print([each], each, as_json=as_json)
    raise typer.Exit(0 if is_whole else 1)


def _plans(asked: list[Region] | None) -> tuple[list[shown.Object], bool]:
    """Each plan, the smallest first, with the regions in which it is so; and whether all regions answered."""
    settings = operators_settings()

    def ask(region: Region) -> list[tuple[str, shown.Object]]:
        with open_registry(settings, region, acting=acting(settings)) as registry:
            return [(name, shown.limits(limits)) for name, limits in registry.run("plans")]

    found, is_whole = from_each(asked or settings.regions, ask)
    plans: list[shown.Object] = []
    for region, (name, limits) in found:
        same = next((each for each in plans if (each["name"], each["limits"]) == (name, limits)), None)
        if same is None:
            plans.append(same := {"name": name, "regions": [], "limits": limits})
        same["regions"].append(region.value)
    return sorted(plans, key=lambda each: PLANS.index(each["name"])), is_whole


def _print(plans: list[shown.Object], document: object, *, as_json: bool) -> None:
    if as_json:
        echo_json(document)
        return
    rows = [["regions", *(each["regions"] for each in plans)]]
    rows += [[member, *(_words(each["limits"][member]) for each in plans)] for member in MEMBERS]
    show(table(["limit", *(each["name"] for each in plans)], rows))


def _words(value: object) -> object:
    """What stands for no limit is told, as nothing would be read as unknown."""
    return "null" if value is None else value
