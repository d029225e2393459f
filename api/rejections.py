"""``/v1/rejections``: what was accepted and could not be stored. Nothing is dropped in silence."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api import answers, models, parameters
from api.context import Caller, PartsOf
from api.events import question
from api.parameters import OperatorRejectionQuery, RejectionQuery
from api.store import Rejection
from ops.health import internal_only
from ops.settings import Settings
from schemas.problems import NotFound, Unauthorized, Unavailable, ValidationFailed

router = APIRouter(tags=["rejections"])


@router.get(
    "/v1/rejections",
    summary="Accepted events that could not be stored, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.RejectionPage, ValidationFailed, Unauthorized),
)
async def list_rejections(asked: Annotated[RejectionQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Each with its reason: a word to switch on, and a sentence."""
    bound = question("rejections", caller, {"workspaceId": asked.workspace_id})
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    if caller.workspace_id is not None and asked.workspace_id not in (None, caller.workspace_id):
        return answers.page((), None)
    workspace = caller.workspace_id or asked.workspace_id
    found = await parts.store.rejections(caller, workspace, after, asked.limit + 1)
    return answers.listed(found, asked.limit, parts.cursors, bound, _public)


def operator_router(settings: Settings) -> APIRouter:
    """``/internal/rejections``: the same for the operator, of every company, with the bytes that could not be stored."""
    routes = APIRouter(tags=["operations"], dependencies=[Depends(internal_only(settings))])

    @routes.get(
        "/internal/rejections",
        summary="All rejections of a region, with the original bytes",
        dependencies=[Depends(parameters.once)],
        response_class=Response,
        responses=answers.documented(models.OperatorRejectionPage, ValidationFailed, Unauthorized, NotFound, Unavailable),
    )
    async def list_all_rejections(asked: Annotated[OperatorRejectionQuery, Query()], parts: PartsOf) -> Response:
        """Of every company, and of records that could be told to none."""
        if asked.region not in settings.regions:
            raise NotFound(f"Region {asked.region} is not served here.")
        bound = {"route": "internal/rejections", "region": asked.region.value}
        after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
        found = await parts.store.all_rejections(asked.region, after, asked.limit + 1)
        return answers.listed(found, asked.limit, parts.cursors, bound, _whole)

    return routes


def _public(rejection: Rejection) -> dict[str, Any]:
    return {
        "id": rejection.id,
        "workspaceId": rejection.workspace_id,
        "reason": rejection.reason,
        "detail": rejection.detail,
        "receivedAt": answers.time(rejection.received_at),
        "rejectedAt": answers.time(rejection.rejected_at),
    }


def _whole(rejection: Rejection) -> dict[str, Any]:
    original = b64encode(rejection.original or b"").decode()
    return {**_public(rejection), "companyId": rejection.company_id, "original": original}
