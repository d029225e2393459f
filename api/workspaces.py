"""``/v1/workspaces``: the heads of their chains."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Depends, Response

from api import answers, models, parameters
from api.context import Caller, PartsOf
from api.events import check_id
from schemas.problems import NotFound, Unauthorized, ValidationFailed

router = APIRouter(prefix="/v1/workspaces", tags=["workspaces"])


@router.get(
    "/{id}/chain",
    summary="The newest link of the workspace's chain",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Chain, ValidationFailed, Unauthorized, NotFound),
)
async def get_chain(id: str, caller: Caller, parts: PartsOf) -> Response:
    """Note seq and hash down somewhere safe: together they fix every event up to there. Seq 0 before the first event."""
    found = await parts.store.chain(caller, check_id(id))
    if found is None:
        raise NotFound
    head, moved_at = found
    body = {"workspaceId": id, "seq": head.seq, "hash": head.hash.hex(), "updatedAt": answers.time(moved_at)}
    return answers.json(orjson.dumps(body))
