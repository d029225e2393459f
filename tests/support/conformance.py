"""Calling a running service as its OpenAPI document says, and judging its answers by that document, strictly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, BaseSchema, Case
from schemathesis.core.result import Ok

from schemas.openapi import Json

VISITORS = ("x-user-id", "x-user-email", "x-user-role", "x-company-id")
"""The headers that say who is at the dashboard: the same for all its routes (tests/unit/api/test_visitor.py)."""
# Right or wrong, these say nothing of the route: what a cursor or a packed body has to be is no matter of a schema.
_UNSAYABLE = {"cursor", "Content-Encoding", *VISITORS}
_RANGES = {"from", "fromSeq", "eventIds"}


def strict(document: Json) -> Json:
    """The document to test by: closed shapes, and nothing that a schema can't say.

    Clients must ignore members that they don't know, so the document leaves its shapes open; but none may be answered unsaid.
    """
    closed: Json = _closed(deepcopy(document))
    for operations in closed["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [each for each in operation.get("parameters", ()) if each["name"] not in _UNSAYABLE]
            operation.get("requestBody", {"content": {}})["content"].pop("application/x-ndjson", None)
    return closed


def operations(schema: BaseSchema) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    """Every operation of a document, none of which may be beyond understanding."""
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result.err()
        yield result.ok()


def _closed(shape: Any) -> Any:
    if isinstance(shape, list):
        return [_closed(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    closed = {name: _closed(value) for name, value in shape.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def sayable(case: Case[Any]) -> Case[Any]:
    """The case without what has the right shape and is refused by a rule that no schema can say.

    Events and expiries have their time, projects and events must be there, networks must exist, a key sent twice must be the same,
    the order of one workspace's chain is no order of several, a text to look for must hold a word, a URL must lead to a public host,
    a range must have its ends in order, and an archive is asked for with both times and without a key.
    """
    for body in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(body, dict):
            for name in ("timestamp", "expiresAt", "projectId", "idempotencyKey"):
                body.pop(name, None)
            if "ipAllowlist" in body:
                body["ipAllowlist"] = ["192.0.2.0/24"]
            if "url" in body:
                body["url"] = "https://hooks.example.com/"
            if "source" in body:
                _say_export(body)
            elif body.keys() & _RANGES:
                case.body = {"fromSeq": 1, "toSeq": 1}
    if case.query and "workspaceId" not in case.query:
        case.query.pop("sort", None)
    if case.query and "q" in case.query:
        case.query["q"] = f"a {case.query['q']}"[:200]
    return case


def _say_export(body: Json) -> None:
    filters = body.get("filters")
    if isinstance(filters, dict):
        filters.pop("idempotencyKey", None)
        if filters.get("q"):
            filters["q"] = f"a {filters['q']}"[:200]
    if body["source"] == "ARCHIVED":
        body |= {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}


def try_each(cases: SearchStrategy[Case[Any]], judge: Callable[[Case[Any]], object], *, examples: int) -> None:
    """Judge that many cases: the same ones in every run, so that what fails once fails again."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def run(case: Case[Any]) -> None:
        judge(case)

    run()
