"""``ops/docs/dashboard.md`` lists the dashboard's routes: here it is held to the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.dashboard.route import DashboardRoute
from api.dashboard.visitor import MAX_CHARACTERS
from ops.limits import Badge
from ops.settings import Settings
from tests.support.documents import any_settings

PAGE = (Path(__file__).parents[3] / "ops" / "docs" / "dashboard.md").read_text()
_LINE = re.compile(r"^\| `([A-Z]+ /dashboard/\S+)` \| ([A-Z_, ]+) \| `([a-z.-]+)` \|$", re.MULTILINE)
Line = tuple[str, str, str]


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def listed(badge: Badge) -> set[Line]:
    """Route, roles and action, as the app has them."""
    found: set[Line] = set()
    for each in iter_route_contexts(create_app(any_settings()).routes):
        if isinstance(each.original_route, DashboardRoute) and each.original_route.badge is badge:
            route = each.original_route
            found |= {(f"{method} {each.path_format}", ", ".join(route.roles), route.name) for method in each.methods or ()}
    return found


@pytest.mark.parametrize(("title", "badge"), [("Routes of a company", Badge.COMPANIES), ("Routes of the operator", Badge.ADMIN)])
def test_the_page_lists_every_route_with_its_roles_and_action(title: str, badge: Badge) -> None:
    lines = _LINE.findall(section(title))
    assert len(set(lines)) == len(lines)
    assert set(lines) == listed(badge)


def test_no_other_table_has_routes_of_the_dashboard() -> None:
    assert len(_LINE.findall(PAGE)) == len(listed(Badge.COMPANIES)) + len(listed(Badge.ADMIN))


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"1 to {MAX_CHARACTERS} characters" in PAGE
    assert f"`DASHBOARD_REQUESTS_PER_MINUTE` requests ({Settings.model_fields['dashboard_requests_per_minute'].default};" in PAGE
