"""Answers as bytes, and how they stand in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Response

from api.cursor import Cursors, Position, Question
from schemas.event import format_time
from schemas.openapi import refusals
from schemas.problems import InternalError, Problem

Shown = TypeVar("Shown")


def json(body: bytes, status: int = 200) -> Response:
    """A success with a body that is JSON already. It is the caller's own, and no cache's."""
    return Response(body, status, headers={"Cache-Control": "no-store"}, media_type="application/json")


def page(rows: Iterable[bytes], next_cursor: str | None, **more: str | Sequence[str] | None) -> Response:
    """``{data, nextCursor, …}`` of rows that are JSON objects already."""
    rest = orjson.dumps({"nextCursor": next_cursor, **more})
    return json(b'{"data":[%b],%b' % (b",".join(rows), rest[1:]))


def listed(
    found: Sequence[tuple[Shown, Position]], limit: int, cursors: Cursors, bound: Question, shown: Callable[[Shown], dict[str, Any]]
) -> Response:
    """The page of a list that was asked for one row more than ``limit``, to see whether it goes on. ``bound`` is the list's question."""
    more = cursors.write(bound, found[limit - 1][1]) if len(found) > limit else None
    return page((orjson.dumps(shown(row)) for row, _ in found[:limit]), more)


def time(micros: int | None) -> str | None:
    """The time's JSON value."""
    return None if micros is None else format_time(micros)


def documented(model: Any, *problems: type[Problem], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: its success (a pydantic model or a union of some), and each problem it may answer with.

    What the door may answer is added in ``api.document``.
    """
    answers: dict[int | str, dict[str, Any]] = {status: {"model": model}}
    return answers | refusals((*problems, InternalError))


def streamed(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The same of a stream of server-sent events."""
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "Server-sent events, without an end.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    }
    return answers | refusals((*problems, InternalError))


def downloaded(contents: Mapping[str, dict[str, Any]], *problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The same of a file, by its media types."""
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "The file, as it is made. Broken off, it ends without its last chunk.", "content": dict(contents)}
    }
    return answers | refusals((*problems, InternalError))
