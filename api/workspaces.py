"""``/v1/workspaces``: the workspaces of a company, their projects, and the heads of their chains."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api import answers, models, parameters
from api.context import Caller, PartsOf
from api.events import check_id, question
from api.parameters import WorkspaceQuery
from api.shown import shown_project, shown_workspace
from schemas.problems import NotFound, ValidationFailed

router = APIRouter(prefix="/v1/workspaces", tags=["workspaces"])


@router.get(
    "",
    summary="Workspaces, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.WorkspacePage, ValidationFailed),
)
async def list_workspaces(asked: Annotated[WorkspaceQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """The company's workspaces, archived ones and its AUDIT workspace included; for a workspace key, its own."""
    bound = question("workspaces", caller, {})
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    found = await parts.store.workspaces(caller, after, asked.limit + 1)
    return answers.listed(found, asked.limit, parts.cursors, bound, shown_workspace)


@router.get(
    "/{id}/projects",
    summary="Projects of a workspace, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.ProjectPage, ValidationFailed, NotFound),
)
async def list_projects(id: str, asked: Annotated[WorkspaceQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """What an event's `projectId` may be."""
    bound = question("projects", caller, {"id": check_id(id)})
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    found = await parts.store.projects(caller, id, after, asked.limit + 1)
    if found is None:
        raise NotFound
    return answers.listed(found, asked.limit, parts.cursors, bound, shown_project)


@router.get(
    "/{id}/chain",
    summary="The newest link of the workspace's chain",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Chain, ValidationFailed, NotFound),
)
async def get_chain(id: str, caller: Caller, parts: PartsOf) -> Response:
    """Note seq and hash down somewhere safe: together they fix every event up to there. Seq 0 before the first event."""
    found = await parts.store.chain(caller, check_id(id))
    if found is None:
        raise NotFound
    head, moved_at = found
    body = {"workspaceId": id, "seq": head.seq, "hash": head.hash.hex(), "updatedAt": answers.time(moved_at)}
    return answers.json(orjson.dumps(body))
