"""``GET /v1/events/tail``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api import answers, parameters
from api.asked import PLAIN, EventFilter
from api.context import Caller, PartsOf
from api.parameters import TailQuery
from api.tail.catchup import Begin
from api.tail.position import Audience, Positions
from api.tail.tails import Asked
from api.tail.watch import Holder
from ops.auth import Principal
from schemas.keys import hash_key
from schemas.problems import RateLimited, Unavailable, ValidationFailed, invalid

router = APIRouter(prefix="/v1/events", tags=["events"])
_NOT_ANNOUNCED = "is no filter of a tail: what is announced of an event does not have it"
_BEARER = len("Bearer ")


def _no_key(request: Request) -> None:
    if "idempotencyKey" in request.query_params:
        raise invalid("idempotencyKey", _NOT_ANNOUNCED)


@router.get(
    "/tail",
    summary="Events as they happen",
    dependencies=[Depends(parameters.once), Depends(_no_key)],
    response_class=Response,
    responses=answers.streamed(ValidationFailed, RateLimited, Unavailable),
)
async def tail_events(
    asked: Annotated[TailQuery, Query()],
    caller: Caller,
    parts: PartsOf,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=8000, description="Begin behind this `id`.")] = None,
) -> Response:
    """Server-sent events (`text/event-stream`): each event of the key's that passes every filter, once it is stored.

    `event: audit-event` has the event as JSON in `data`, as in `GET /v1/events`. `id` is where the stream stands behind it: opaque,
    good with any filters, for any key of the same workspace (of a company key: of the same company). To resume, send the last `id` seen;
    nothing is then missed and nothing told twice. Messages with an `id` alone move it on where filters let nothing pass.
    `event: gap` with `{workspaceId, fromSeq, toSeq}` says that events behind that position are no longer here: they are in the archive.

    A comment comes every 15 s. Streams end after about ten minutes, when their key does, and when their client is too slow: resume then.
    Within a workspace events come in the order of `seq`. A new workspace of the company is in its tails from its first event on.
    """
    begin = _begin(last_event_id if last_event_id is not None else asked.last_event_id, asked.since, caller, parts.tails.positions)
    header = request.headers["authorization"][_BEARER:]
    holder = Holder(caller.key_id, request.state.client_address, tuple(hash_key(secret, header) for secret in parts.key_secrets))
    return await parts.tails.open(Asked(caller, _filter(asked), asked.question(), begin, holder))


def _begin(last_event_id: str | None, since: int | None, caller: Principal, positions: Positions) -> Begin:
    if not last_event_id:
        return since
    try:
        return positions.read(Audience(caller.company_id, caller.workspace_id), last_event_id)
    except ValueError:
        raise invalid("lastEventId", "is no position of this key's tails: begin again without it, or with since") from None


def _filter(asked: TailQuery) -> EventFilter:
    """The filter; another's workspace leaves nothing of the caller's own."""
    values = asked.model_dump(by_alias=True)
    return EventFilter(
        workspace_id=asked.workspace_id,
        start=asked.start,
        end=asked.end,
        descending=False,
        received_start=asked.received_start,
        received_end=asked.received_end,
        plain={name: str(values[name]) for name in PLAIN if values[name] is not None},
        words=asked.q,
    )
