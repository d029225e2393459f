"""What every entry of the OpenAPI document is made of: content, refusals with their codes, headers, who may call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.problems import Code, Problem

Json = dict[str, Any]
TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
HEX_32: Final = "^[0-9a-f]{32}$"

WORKSPACE_KEY: Final[Json] = {"WorkspaceKey": []}
COMPANY_KEY: Final[Json] = {"CompanyKey": []}
INTERNAL_TOKEN: Final[Json] = {"InternalToken": []}
DASHBOARD_TOKEN: Final[Json] = {"DashboardToken": []}
SECURITY_SCHEMES: Final[Json] = {
    "WorkspaceKey": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer hlk_{region}_ws_…`: one workspace."},
    "CompanyKey": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer hlk_{region}_co_…`: all its workspaces."},
    "InternalToken": {"type": "apiKey", "in": "header", "name": "x-internal-token", "description": "The operator's INTERNAL_TOKEN."},
    "DashboardToken": {
        "type": "apiKey",
        "in": "header",
        "name": "x-dashboard-token",
        "description": "DASHBOARD_SERVICE_TOKEN; on `/dashboard/admin/*` DASHBOARD_ADMIN_TOKEN, where there is one.",
    },
}

ERROR: Final[Json] = {
    "type": "object",
    "description": "Every answer that is not a success. Switch on `code`; `error` is for people and may change.",
    "required": ["error", "code", "traceId"],
    "properties": {
        "error": {"type": "string", "description": "One sentence."},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "details": {
            "type": "array",
            "description": "The first twenty findings, where there are some.",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "description": "The event's place in a batch, from 0."},
                    "field": {"type": "string", "description": "`metadata.items[3].price`, or a parameter's or header's name."},
                    "message": {"type": "string"},
                },
            },
        },
        "traceId": {"type": "string", "pattern": HEX_32, "description": "That of `X-Trace-Id`."},
    },
}


def _header(description: str, schema: Json, example: object) -> Json:
    return {"description": description, "required": True, "schema": schema, "example": example}


_COUNT: Final = {"type": "integer", "minimum": 0}
HEADERS: Final[Json] = {
    "X-Trace-Id": _header(
        "Of the request's valid `traceparent`, else of its valid `X-Trace-Id`, else made.", {"type": "string", "pattern": HEX_32}, TRACE_ID
    ),
    "X-RateLimit-Limit": _header(
        "How much is allowed in a minute, by the limit with the least left; 1,000,000,000 where there is none.", _COUNT, 1200
    ),
    "X-RateLimit-Remaining": _header("How much of it is left.", _COUNT, 1187),
    "X-RateLimit-Reset": _header("When the minute ends.", {"type": "string", "format": "date-time"}, "2026-01-31T09:31:00.000000Z"),
    "Retry-After": _header("Seconds after which it is worth trying again.", {"type": "integer", "minimum": 1}, 2),
    "WWW-Authenticate": _header("The challenge that RFC 9110 §15.5.2 asks for.", {"type": "string", "const": "Bearer"}, "Bearer"),
    "Preference-Applied": _header("The wait that was granted (RFC 7240 §3).", {"type": "string", "pattern": "^wait=[0-9]+$"}, "wait=10"),
}
OF_STATUS: Final[Mapping[str, tuple[str, ...]]] = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}
"""The headers that every answer of a status has, beside those that all have."""


def reference(name: str, kind: str = "schemas") -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def content(schema: Json, kind: str = "application/json", **more: object) -> Json:
    """The ``content`` of a body of one media type."""
    return {kind: {"schema": schema, **more}}


def nullable(schema: Json) -> Json:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def refusals(problems: Iterable[type[Problem]], said: Mapping[type[Problem], str] | None = None) -> Json:
    """The ``responses`` of the problems a route may answer with. ``said`` replaces a problem's own sentence in the description."""
    answers: Json = {}
    for problem in dict.fromkeys(problems):
        text = (said or {}).get(problem) or _sentence(problem)
        merge(answers, {str(problem.code.status): _refusal(problem, text)})
    return answers


def merge(answers: Json, more: Json) -> None:
    """Add ``responses`` to others, bringing together what the same status may mean. What is there already stays as it is said."""
    for status, answer in more.items():
        if status not in answers:
            answers[status] = answer
            continue
        ours, theirs = answers[status]["content"]["application/json"], answer["content"]["application/json"]
        if theirs["examples"].keys() <= ours["examples"].keys():
            continue
        codes = [*ours["schema"]["properties"]["code"]["enum"], *theirs["schema"]["properties"]["code"]["enum"]]
        examples = ours["examples"] | theirs["examples"]
        description = f"{answers[status]['description']} {answer['description']}"
        answers[status] = {"description": description, "content": content(_error(list(dict.fromkeys(codes))), examples=examples)}


def say(answers: Json, problem: type[Problem], text: str) -> None:
    """Tell a problem that is among ``responses`` in other words: those of whoever answers it there."""
    answer = answers[str(problem.code.status)]
    answer["description"] = answer["description"].replace(_described(problem), _described(problem, text))
    told = answer["content"]["application/json"]["examples"][problem.__name__]
    told |= {"summary": text, "value": {**told["value"], "error": text}}


def example(problem: type[Problem]) -> Json:
    """A body of that problem, as one of its answers has it."""
    return {"error": _sentence(problem), "code": problem.code.value, "traceId": TRACE_ID}


def _refusal(problem: type[Problem], text: str) -> Json:
    examples = {problem.__name__: {"summary": _sentence(problem), "value": example(problem)}}
    return {"description": _described(problem, text), "content": content(_error([problem.code.value]), examples=examples)}


def _described(problem: type[Problem], text: str | None = None) -> str:
    return f"`{problem.code}`: {text or _sentence(problem)}"


def _error(codes: list[str]) -> Json:
    """The error's shape, with no other codes than those."""
    return {**reference("Error"), "properties": {"code": {"enum": codes}}}


def _sentence(problem: type[Problem]) -> str:
    return (problem.__doc__ or "").partition("\n")[0]
