"""``/v1/exports``: making exports, looking at them, downloading them. Making, cancelling and downloading are audited."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api import answers, body, parameters
from api.audited import AttemptOf, AuditedRoute
from api.context import Caller, PartsOf
from api.cursor import Position
from api.events import check_id, question
from api.exports import examples, models
from api.exports.rows import Job
from api.exports.wishes import ExportWish
from api.parameters import DownloadQuery, ExportQuery
from schemas.problems import (
    Conflict,
    NotFound,
    PayloadTooLarge,
    PlanLimitExceeded,
    PlanRestricted,
    Problem,
    RateLimited,
    RequestTimeout,
    RestoreRequired,
    RetentionWindowExceeded,
    UnsupportedMediaType,
    ValidationFailed,
)

router = APIRouter(prefix="/v1", tags=["exports"], route_class=AuditedRoute)
reading_router = APIRouter(prefix="/v1", tags=["exports"])
_OF_BODY: tuple[type[Problem], ...] = (RequestTimeout, PayloadTooLarge, UnsupportedMediaType)
_OF_PLAN: tuple[type[Problem], ...] = (PlanRestricted, PlanLimitExceeded, RetentionWindowExceeded)


@router.post(
    "/exports",
    name="export.create",
    summary="Export events",
    status_code=202,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.NewExport, ValidationFailed, *_OF_BODY, *_OF_PLAN, RestoreRequired, status=202),
    openapi_extra=body.documented(ExportWish),
)
async def create_export(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """Which events are in it is fixed now: those that are stored and pass the filters, by workspace and `seq`. Download it next.

    Of a workspace key its workspace's events, of a company key those of all workspaces, the AUDIT workspace too.
    Without `limit` it has as many rows as the plan allows; if there are more, it says `truncated`.
    """
    wish = await body.read(request, ExportWish, seconds=parts.body_timeout)
    made = await parts.exports.create(attempt, caller, wish)
    return answers.json(orjson.dumps({"jobId": made.id, "status": made.state}), status=202)


def _no_old_http(request: Request) -> None:
    """Without chunks, an answer that was broken off could look complete."""
    if request.scope.get("http_version") == "1.0":
        raise ValidationFailed("A download takes HTTP/1.1 at least.")


@router.get(
    "/exports/{id}/download",
    name="export.download",
    summary="Download an export",
    dependencies=[Depends(parameters.once), Depends(_no_old_http)],
    response_class=Response,
    responses=answers.downloaded(examples.contents(), ValidationFailed, PlanRestricted, NotFound, Conflict, RestoreRequired, RateLimited),
)
async def download_export(
    id: str,
    asked: Annotated[DownloadQuery, Query()],
    caller: Caller,
    attempt: AttemptOf,
    parts: PartsOf,
    accept_encoding: Annotated[str | None, Header(description="`gzip` and `zstd` are known, for JSONL and CSV.")] = None,
) -> Response:
    """The file, as it is read. It may be downloaded again, and has the same events then; of an export that is being downloaded the
    new download takes the place of the running one. To resume one that broke off, send as `offset` how many bytes came.

    A company may download two exports at a time. A client that goes away or stops reading cancels the download, not the export.
    """
    return await parts.downloads.open(attempt, caller, check_id(id), offset=asked.offset, accepted=accept_encoding)


@router.post(
    "/exports/{id}/cancel",
    name="export.cancel",
    summary="Cancel an export",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Export, ValidationFailed, NotFound),
)
async def cancel_export(id: str, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """For good. A download that is under way is broken off within seconds. One that has succeeded stays as it is."""
    return _shown(await parts.exports.cancel(attempt, caller, check_id(id)))


@reading_router.get(
    "/exports",
    summary="Exports, newest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.ExportPage, ValidationFailed),
)
async def list_exports(asked: Annotated[ExportQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Those that were made with keys of the calling key's workspace; for a company key all of the company's."""
    bound = question("exports", caller, {})
    before = parts.cursors.read(bound, asked.cursor).tie if asked.cursor else None
    found = await parts.exports.page(caller, before, asked.limit + 1)
    placed = [(job, Position(0, UUID(job.id).bytes)) for job in found]
    return answers.listed(placed, asked.limit, parts.cursors, bound, Job.shown)


@reading_router.get(
    "/exports/{id}",
    summary="An export",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Export, ValidationFailed, NotFound),
)
async def get_export(id: str, caller: Caller, parts: PartsOf) -> Response:
    """How far its download is, or how it ended."""
    return _shown(await parts.exports.get(caller, check_id(id)))


@reading_router.get(
    "/exports/{id}/manifest",
    summary="What an export came to",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Manifest, ValidationFailed, NotFound, Conflict),
)
async def get_manifest(id: str, caller: Caller, parts: PartsOf) -> Response:
    """Once it succeeded: rows, size and SHA-256 of the file, and of each workspace the first and last link of its chain in it."""
    job = await parts.exports.get(caller, check_id(id))
    if job.result is None:
        raise Conflict(f"The export is {job.state}: it has a manifest once a download has succeeded.")
    return answers.json(orjson.dumps(job.manifest(job.result)))


def _shown(job: Job) -> Response:
    return answers.json(orjson.dumps(job.shown()))
