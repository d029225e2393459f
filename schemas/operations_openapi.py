"""The OpenAPI entries of what every process answers alike: what it is, whether it is well, and its documents."""

from __future__ import annotations

from typing import Any, Final

from schemas.openapi import INTERNAL_TOKEN, Json, content, reference, refusals
from schemas.problems import InternalError, Problem, Unauthorized, ValidationFailed

_TAGS: Final = ["operations"]
_NAMES: Final[Json] = {"type": "array", "items": {"type": "string"}}
_METRICS_TEXT: Final = 'hyrelog_ingest_refused_requests_total{code="VALIDATION_ERROR"} 3.0\n'


def _object(description: str, **properties: Json) -> Json:
    return {"type": "object", "description": description, "required": list(properties), "properties": properties}


COMPONENTS: Final[Json] = {
    "Service": _object(
        "What this is.",
        service={"type": "string", "const": "hyrelog-api"},
        version={"type": "string"},
        status={"type": "string", "const": "running"},
    ),
    "Alive": _object("The process is alive.", status={"type": "string", "const": "ok"}),
    "Ready": _object("It can serve.", status={"type": "string", "const": "ready"}),
    "NotReady": _object("It can't serve.", status={"type": "string", "const": "unavailable"}, missing=_NAMES),
    "Health": _object(
        "How the process is doing.",
        status={"type": "string", "enum": ["ok", "degraded"]},
        uptime={"type": "number", "minimum": 0, "description": "Seconds."},
        timestamp={"type": "string", "format": "date-time"},
        service={"type": "string"},
        missing={**_NAMES, "description": "The parts that do not answer."},
        notices={**_NAMES, "description": "What an operator should look at."},
    ),
    "MetricFamily": _object(
        "A metric with its series.",
        name={"type": "string"},
        type={"type": "string"},
        help={"type": "string"},
        samples={
            "type": "array",
            "items": _object(
                "One value.",
                name={"type": "string"},
                labels={"type": "object", "additionalProperties": {"type": "string"}},
                value={"type": ["number", "null"], "description": "Null: not a number."},
            ),
        },
    ),
}


def _get(name: str, summary: str, description: str, answers: Json, *problems: type[Problem], **more: Any) -> Json:
    responses = {**answers, **refusals((*problems, InternalError))}
    entry = {"tags": _TAGS, "operationId": name, "summary": summary, "description": description, **more}
    return {"get": {**entry, "responses": responses}}


def _answer(description: str, body: Json) -> Json:
    return {"description": description, "content": body}


PATHS: Final[Json] = {
    "/": _get("root", "What this is", "Needs no key.", {"200": _answer("It runs.", content(reference("Service")))}, ValidationFailed),
    "/health": _get("health", "Is the process alive?", "Asks no other part.", {"200": _answer("Yes.", content(reference("Alive")))}),
    "/ready": _get(
        "ready",
        "Can it serve?",
        "For load balancers.",
        {
            "200": _answer("Yes.", content(reference("Ready"))),
            "503": _answer("No; `missing` names the parts that do not answer.", content(reference("NotReady"))),
        },
    ),
    "/internal/health": _get(
        "internal_health",
        "How the process is doing",
        "Status, uptime, what is missing and what to look at.",
        {"200": _answer("As it stands now.", content(reference("Health")))},
        Unauthorized,
        security=[INTERNAL_TOKEN],
    ),
    "/internal/metrics": _get(
        "internal_metrics",
        "Prometheus metrics",
        "Prometheus's text format; JSON when `Accept` asks for it.",
        {
            "200": _answer(
                "All series.",
                content({"type": "string"}, "text/plain", example=_METRICS_TEXT)
                | content({"type": "array", "items": reference("MetricFamily")}),
            )
        },
        Unauthorized,
        security=[INTERNAL_TOKEN],
    ),
    "/openapi.json": _get(
        "openapi",
        "This document",
        "OpenAPI 3.1.",
        {"200": _answer("The document.", content({"type": "object"}, example={"openapi": "3.1.0"}))},
    ),
    "/docs": _get(
        "docs",
        "This document as a page",
        "Plain HTML, without script.",
        {"200": _answer("The page.", content({"type": "string"}, "text/html", example="<!doctype html>…"))},
    ),
}
