"""``/v1/events``: stored events, filtered and paged, or one by its id."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api import answers, models, parameters
from api.asked import PLAIN, EventFilter
from api.context import Caller, PartsOf
from api.cursor import Question
from api.finder import NOTHING
from api.parameters import EventQuery
from ops.auth import Principal
from schemas.ids import is_uuid
from schemas.problems import NotFound, RestoreRequired, ValidationFailed, invalid
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
    responses=answers.documented(models.EventPage, ValidationFailed),
)
async def list_events(asked: Annotated[EventQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Events of the key's workspace, or of all workspaces of a company key, that pass every filter.

    `nextCursor` leads to the next page until it is null: no event twice, and none skipped of those that were stored
    when the first page was read. With `sort=seq&order=asc` it is never null, and leads to what is stored later: follow it.
    An event is found by its fields as soon as it is stored; by `q`, a moment later.
    Events received up to `hotSince` may have left the database for the archive, where exports and their ids find them; null: none has.
    """
    if asked.sort is parameters.Sort.SEQ and caller.workspace_id is None and asked.workspace_id is None:
        raise invalid("sort", "seq is of one workspace: name it as workspaceId")
    bound = question("events", caller, asked.question())
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    wanted = _filter(caller, asked)
    foreign = caller.workspace_id is not None and asked.workspace_id not in (None, caller.workspace_id)
    found, hot_since = NOTHING if foreign else await parts.finder.events(caller, wanted, after, asked.limit + 1)
    shown = found[: asked.limit]
    rows = (render(event, verification=asked.include is not None) for event, _ in shown)
    goes_on = len(found) > asked.limit or (wanted.by_seq and not wanted.descending)
    last = shown[-1][1] if shown else after or wanted.first()
    return answers.page(rows, parts.cursors.write(bound, last) if goes_on else None, hotSince=answers.time(hot_since))


@router.get(
    "/{id}",
    summary="One event, with all that is needed to verify it",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Event | models.RejectedEvent, ValidationFailed, NotFound, RestoreRequired),
)
async def get_event(id: str, caller: Caller, parts: PartsOf) -> Response:
    """The stored event; or, if it was accepted and could not be stored, `{id, status: "REJECTED", reason}`.

    An event that repeats another one under the same idempotency key leads to that one.
    An event that is no longer in the database is read from its archive; while that is cold, the answer is 409 `RESTORE_REQUIRED`
    with the archive's id.
    An event that was accepted a moment ago and is not stored yet is not found.
    """
    found = await parts.store.event(caller, check_id(id)) or await parts.archived.event(caller, id)
    if found is None:
        raise NotFound
    if isinstance(found, str):
        return answers.json(orjson.dumps({"id": id, "status": "REJECTED", "reason": found}))
    return answers.json(render(found, verification=True))


def _filter(caller: Principal, asked: EventQuery) -> EventFilter:
    """The filter in the caller's own bounds."""
    values = asked.model_dump(by_alias=True)
    return EventFilter(
        workspace_id=caller.workspace_id or asked.workspace_id,
        start=asked.start,
        end=asked.end,
        descending=asked.order is parameters.Order.DESCENDING,
        by_seq=asked.sort is parameters.Sort.SEQ,
        received_start=asked.received_start,
        received_end=asked.received_end,
        plain={name: str(values[name]) for name in PLAIN if values[name] is not None},
        idempotency_key=asked.idempotency_key,
        words=asked.q,
    )
