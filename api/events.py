"""``/v1/events``: stored events, filtered and paged, or one by its id."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api import answers, models, parameters
from api.context import Caller, PartsOf
from api.cursor import Question
from api.parameters import EventQuery
from api.store import EventFilter
from ops.auth import Principal
from schemas.ids import is_uuid
from schemas.problems import NotFound, Unauthorized, ValidationFailed
from schemas.view import render

router = APIRouter(prefix="/v1/events", tags=["events"])


def check_id(text: str) -> str:
    """An id out of a path. Raises ``NotFound`` for what can be nobody's."""
    if not is_uuid(text):
        raise NotFound
    return text


def question(route: str, caller: Principal, asked: Question) -> dict[str, str | None]:
    """What a cursor is bound to: the list, whose it is, and the filters."""
    return {"route": route, "company": caller.company_id, "workspace": caller.workspace_id, **asked}


@router.get(
    "",
    summary="Events, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.EventPage, ValidationFailed, Unauthorized),
)
async def list_events(asked: Annotated[EventQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Events of the key's workspace, or of all workspaces of a company key.

    `nextCursor` leads to the next page until it is null: no event twice, and none skipped of those that were stored
    when the first page was read. `hotSince` is the age from which events are in the archive; null while none are.
    """
    bound = question("events", caller, asked.question())
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    wanted = _filter(caller, asked)
    found = [] if wanted is None else await parts.store.events(caller, wanted, after, asked.limit + 1)
    rows = (render(event, verification=asked.include is not None) for event, _ in found[: asked.limit])
    more = parts.cursors.write(bound, found[asked.limit - 1][1]) if len(found) > asked.limit else None
    return answers.page(rows, more, hotSince=None)


@router.get(
    "/{id}",
    summary="One event, with all that is needed to verify it",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Event | models.RejectedEvent, ValidationFailed, Unauthorized, NotFound),
)
async def get_event(id: str, caller: Caller, parts: PartsOf) -> Response:
    """The stored event; or, if it was accepted and could not be stored, `{id, status: "REJECTED", reason}`.

    An event that was accepted a moment ago and is not stored yet is not found.
    """
    found = await parts.store.event(caller, check_id(id))
    if found is None:
        raise NotFound
    if isinstance(found, str):
        return answers.json(orjson.dumps({"id": id, "status": "REJECTED", "reason": found}))
    return answers.json(render(found, verification=True))


def _filter(caller: Principal, asked: EventQuery) -> EventFilter | None:
    """The filter in the caller's own bounds; ``None`` when it asks for a workspace outside them."""
    if caller.workspace_id is not None and asked.workspace_id not in (None, caller.workspace_id):
        return None
    prefix = asked.action is not None and asked.action.endswith(".*")
    return EventFilter(
        workspace_id=caller.workspace_id or asked.workspace_id,
        start=asked.start,
        end=asked.end,
        category=asked.category,
        action=None if prefix else asked.action,
        action_prefix=asked.action[:-1] if asked.action and prefix else None,
        descending=asked.order is parameters.Order.DESCENDING,
    )
