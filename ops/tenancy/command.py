"""``hyrelog company | workspace | project | key | plan``: what an operator does about tenants, told in the company's own audit."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from ops.tenancy import companies, keys, plans, workspaces

_GROUPS = {
    "company": (
        "Companies and their plans.",
        (
            companies.company_create,
            companies.company_list,
            companies.company_show,
            companies.company_plan,
            companies.company_override,
        ),
    ),
    "workspace": (
        "Workspaces.",
        (workspaces.workspace_create, workspaces.workspace_list, workspaces.workspace_archive, workspaces.workspace_unarchive),
    ),
    "project": ("Projects.", (workspaces.project_create, workspaces.project_list)),
    "key": ("API keys.", (keys.key_create, keys.key_list, keys.key_allow, keys.key_rotate, keys.key_revoke)),
    "plan": ("Plans and their limits.", (plans.plan_list, plans.plan_show)),
}


def register(app: typer.Typer) -> None:
    """Add the commands, grouped by noun."""
    for noun, group in groups().items():
        app.add_typer(group, name=noun)


def groups() -> Mapping[str, typer.Typer]:
    """The commands by their noun."""
    made = {noun: typer.Typer(no_args_is_help=True, help=words) for noun, (words, _commands) in _GROUPS.items()}
    for noun, (_words, commands) in _GROUPS.items():
        for command in commands:
            made[noun].command(command.__name__.removeprefix(f"{noun}_"))(command)
    return made
