"""``/dashboard``: a company's archives, and asking for cold ones to be restored."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from api import answers, body, parameters
from api.audited import AttemptOf
from api.context import Caller, PartsOf
from api.cursor import Position
from api.dashboard import models
from api.dashboard.own import OF_ALL, OF_BODY
from api.dashboard.route import CompanyActing, CompanyReading
from api.dashboard.wishes import RestoreQuery, RestoreWish
from api.events import check_id, question
from api.parameters import ListQuery
from ops.db import Row
from ops.restore.requests import Wish
from ops.restore.rows import RestoreRequest
from schemas.problems import Conflict, PlanRestricted
from schemas.restore import Tier

reading = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=CompanyReading)
acting = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=CompanyActing)


@reading.get(
    "/archives",
    name="archive.list",
    summary="Archives, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.ArchivePage, *OF_ALL),
)
async def list_archives(asked: Annotated[ListQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Each with whether it is cold, and until when it is restored."""
    bound = question("dashboard/archives", caller, {})
    before = parts.cursors.read(bound, asked.cursor).tie if asked.cursor else None
    found = await parts.restores.archives(caller, before, asked.limit + 1)
    placed = [(row, Position(0, row["id"].bytes)) for row in found]
    return answers.listed(placed, asked.limit, parts.cursors, bound, _archive)


@reading.get(
    "/restore-requests",
    name="restore.list",
    summary="Restore requests, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.RestoreRequestPage, *OF_ALL),
)
async def list_restore_requests(asked: Annotated[RestoreQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """The company's, whoever asked."""
    bound = question("dashboard/restore-requests", caller, asked.question())
    before = parts.cursors.read(bound, asked.cursor).tie if asked.cursor else None
    found = await parts.restores.page(caller, asked.status, before, asked.limit + 1)
    placed = [(each, Position(0, UUID(each.id).bytes)) for each in found]
    return answers.listed(placed, asked.limit, parts.cursors, bound, RestoreRequest.shown)


@reading.get(
    "/restore-requests/{id}",
    name="restore.read",
    summary="A restore request",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.RestoreRequest, *OF_ALL),
)
async def get_restore_request(id: str, caller: Caller, parts: PartsOf) -> Response:
    """How far it is, what it is expected to cost and take, and who decided."""
    return _shown(await parts.restores.get(caller, check_id(id)))


@acting.post(
    "/restore-requests",
    name="restore.request",
    summary="Ask for a cold archive to be restored",
    status_code=201,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.RestoreRequest, *OF_ALL, *OF_BODY, PlanRestricted, Conflict, status=201),
    openapi_extra=body.documented(RestoreWish),
)
async def create_restore_request(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """For some days, by a tier that the plan has. An operator approves or rejects it; the answer tells what it is expected to cost and
    take. An archive has one active request at a time.
    """
    wish = await body.read(request, RestoreWish, seconds=parts.body_timeout)
    asked = Wish(wish.archive_id, Tier(wish.tier), wish.days)
    return _shown(await parts.restores.create(attempt, caller, request.state.user, asked), status=201)


@acting.delete(
    "/restore-requests/{id}",
    name="restore.cancel",
    summary="Take a restore request back",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.RestoreRequest, *OF_ALL, Conflict),
)
async def take_restore_request_back(id: str, request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """As long as nobody has decided it: afterwards it is 409."""
    return _shown(await parts.restores.take_back(attempt, caller, request.state.user, check_id(id)))


def _shown(found: RestoreRequest, status: int = 200) -> Response:
    return answers.json(orjson.dumps(found.shown()), status=status)


def _archive(row: Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "archiveDay": row["archive_day"].isoformat(),
        "part": row["part"],
        "archiveKey": row["key"],
        "rows": str(row["row_count"]),
        "sizeBytes": row["size"],
        "archivedAt": answers.time(row["archived_at"]),
        "verifiedAt": answers.time(row["verified_at"]),
        "keptUntil": answers.time(row["archive_until"]),
        "isColdArchived": row["is_cold_archived"],
        "restoredUntil": answers.time(row["restored_until"]),
    }
