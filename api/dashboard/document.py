"""What the OpenAPI document says of each route of the dashboard: whose service may call it, for whom, in which role."""

from __future__ import annotations

from api.dashboard.directory import NO_SUCH_COMPANY
from api.dashboard.route import DashboardRoute
from api.dashboard.visitor import COMPANY_ID, MAX_CHARACTERS, USER_EMAIL, USER_ID, USER_ROLE
from api.story import COMPANY, OPERATOR, OPERATORS_EMAIL, USER, USERS_EMAIL
from ops.auth import UserRole
from ops.dashboard_door import NOT_THE_DASHBOARD
from ops.limits import Badge
from schemas.openapi import DASHBOARD_TOKEN, Json, merge, refusals, say
from schemas.problems import Forbidden, NotFound, Problem, RateLimited, Unauthorized, Unavailable, ValidationFailed

_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
_OF_ALL: tuple[type[Problem], ...] = (ValidationFailed, Unauthorized, Forbidden, RateLimited, Unavailable)


def describe(operation: Json, route: DashboardRoute) -> None:
    """Complete the entry that FastAPI makes of a route: who may call, the headers that say who acts, and what is answered to others."""
    operation["security"] = [DASHBOARD_TOKEN]
    roles = " and ".join(f"`{role}`" for role in route.roles)
    operation["description"] += f"\n\nFor {roles}. Its `action` in the audit is `{route.name}`."
    operation["parameters"] = [*operation.get("parameters", ()), *_headers(route)]
    answers = operation["responses"]
    merge(answers, refusals(_OF_ALL))
    say(answers, Unauthorized, NOT_THE_DASHBOARD)
    say(answers, Forbidden, f"The role {_other(route.roles)} may not do that.")
    if Badge.COMPANIES in route.badge:
        merge(answers, refusals((NotFound,)))
    if "404" in answers and ("{id}" not in route.path or "/companies/" in route.path):  # else it may be what the id names
        say(answers, NotFound, NO_SUCH_COMPANY)


def _headers(route: DashboardRoute) -> list[Json]:
    user, email = (OPERATOR, OPERATORS_EMAIL) if Badge.ADMIN in route.badge else (USER, USERS_EMAIL)
    role: Json = {"type": "string", "enum": [str(each) for each in route.roles]}
    headers = [
        _header(USER_ID, f"Who acts. At most {MAX_CHARACTERS} characters of UTF-8, no controls.", _TEXT, user),
        _header(USER_EMAIL, "The address of who acts.", _TEXT, email),
        _header(USER_ROLE, "The role of who acts; any other one is answered with 403.", role, str(route.roles[-1])),
    ]
    if Badge.COMPANIES in route.badge:
        company: Json = {"type": "string", "format": "uuid"}
        headers.append(_header(COMPANY_ID, "The company that it is for; one that there is not is answered with 404.", company, COMPANY))
    return headers


def _header(name: str, description: str, schema: Json, example: str) -> Json:
    return {"name": name, "in": "header", "required": True, "description": description, "schema": schema, "example": example}


def _other(roles: tuple[UserRole, ...]) -> UserRole:
    """One that may not."""
    return next(role for role in UserRole if role not in roles)
