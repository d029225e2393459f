"""``/dashboard/admin/restore-requests``: what companies asked to have restored, and deciding it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from api import answers, body, parameters
from api.attempt import Attempt
from api.audited import attempt_of
from api.context import PartsOf
from api.cursor import Position
from api.dashboard import models as own
from api.dashboard.admin import models
from api.dashboard.admin.companies import OF_ALL, note_whom, regions_of
from api.dashboard.admin.wishes import CancelWish, RejectWish, RestoreQuery
from api.dashboard.own import OF_BODY
from api.dashboard.restoring import Decision
from api.dashboard.route import OperatorActing, OperatorReading
from api.events import check_id
from ops.restore import requests
from ops.restore.rows import RestoreRequest
from schemas.problems import Conflict, NotFound, PlanRestricted

reading = APIRouter(prefix="/dashboard/admin", tags=["admin"], route_class=OperatorReading)
acting = APIRouter(prefix="/dashboard/admin", tags=["admin"], route_class=OperatorActing)


async def _request(id: str, request: Request, parts: PartsOf) -> RestoreRequest:
    """The request that a path names; refusals are told in its company's audit from here on. Raises ``NotFound``, ``Unavailable``."""
    region, found = await parts.restores.find(check_id(id))
    request.state.about = (region, found.company_id)
    return found


RequestOf = Annotated[RestoreRequest, Depends(_request)]


def _attempt(request: Request, parts: PartsOf, _about: RequestOf) -> Attempt:
    return attempt_of(request, parts)


AttemptOnRequest = Annotated[Attempt, Depends(_attempt)]


@reading.get(
    "/restore-requests",
    name="restore.list",
    summary="Restore requests of all companies, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.OperatorRestoreRequestPage, *OF_ALL),
)
async def list_all_restore_requests(request: Request, asked: Annotated[RestoreQuery, Query()], parts: PartsOf) -> Response:
    """Of all regions together. A region that can't be asked now stands in `unavailableRegions`."""
    bound = {"route": "admin/restore-requests", **asked.question()}
    before = parts.cursors.read(bound, asked.cursor).tie if asked.cursor else None
    regions = regions_of(asked.region, parts)
    await note_whom(request, asked.company_id, parts)
    found, away = await parts.restores.of_regions(regions, asked.company_id, asked.status, before, asked.limit + 1)
    shown = found[: asked.limit]
    more = parts.cursors.write(bound, Position(0, UUID(shown[-1].id).bytes)) if len(found) > asked.limit else None
    return answers.page((orjson.dumps(each.shown()) for each in shown), more, unavailableRegions=away)


@reading.get(
    "/restore-requests/{id}",
    name="restore.read",
    summary="Any restore request",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.RestoreRequest, *OF_ALL, NotFound),
)
async def get_any_restore_request(found: RequestOf) -> Response:
    """As its company sees it."""
    return answers.json(orjson.dumps(found.shown()))


@acting.post(
    "/restore-requests/{id}/reject",
    name="restore.reject",
    summary="Reject a restore request",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.RestoreRequest, *OF_ALL, *OF_BODY, NotFound, Conflict),
    openapi_extra=body.documented(RejectWish),
)
async def reject_restore_request(request: Request, found: RequestOf, attempt: AttemptOnRequest, parts: PartsOf) -> Response:
    """With a reason, which the company reads."""
    reason = (await body.read(request, RejectWish, seconds=parts.body_timeout)).reason
    return await _decided(request, attempt, parts, found, partial(requests.reject, reason=reason), reason=reason)


@acting.post(
    "/restore-requests/{id}/approve",
    name="restore.approve",
    summary="Approve a restore request",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.RestoreRequest, *OF_ALL, PlanRestricted, NotFound, Conflict),
)
async def approve_restore_request(request: Request, found: RequestOf, attempt: AttemptOnRequest, parts: PartsOf) -> Response:
    """Within five minutes S3 is asked. Who asked for it may not approve it: 403."""
    return await _decided(request, attempt, parts, found, requests.approve)


@acting.post(
    "/restore-requests/{id}/cancel",
    name="restore.cancel",
    summary="Cancel a restore request",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.RestoreRequest, *OF_ALL, *OF_BODY, NotFound, Conflict),
    openapi_extra=body.documented(CancelWish),
)
async def cancel_restore_request(request: Request, found: RequestOf, attempt: AttemptOnRequest, parts: PartsOf) -> Response:
    """Pending or approved; once S3 was asked there is no way back, and it is 409."""
    reason = (await body.read(request, CancelWish, seconds=parts.body_timeout)).reason
    told = {} if reason is None else {"reason": reason}
    return await _decided(request, attempt, parts, found, partial(requests.cancel, company_id=None, reason=reason), **told)


async def _decided(request: Request, attempt: Attempt, parts: PartsOf, found: RestoreRequest, decision: Decision, **told: Any) -> Response:
    decided = await parts.restores.decide(attempt, request.state.user, found.id, decision, told)
    return answers.json(orjson.dumps(decided.shown()))
