"""What the dashboard alone has of a company: its summary, keys, workspaces, projects, and webhooks of all workspaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from api import answers, body, keys, models, parameters
from api.audited import AttemptOf
from api.context import Caller, PartsOf
from api.cursor import Position
from api.dashboard import models as own
from api.dashboard.route import CompanyActing, CompanyReading
from api.dashboard.tenants import not_of_company
from api.dashboard.wishes import AllowlistWish, CompanyKeyWish, PlacedQuery, PlacedWebhookWish, ProjectWish, WorkspaceWish
from api.events import check_id, question
from api.management import Terms
from api.shown import shown_company, shown_project
from api.webhooks import models as webhook_models
from api.webhooks.actions import Act
from schemas.problems import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    PlanLimitExceeded,
    PlanRestricted,
    Problem,
    RequestTimeout,
    UnsupportedMediaType,
    ValidationFailed,
    WorkspaceArchived,
)

reading = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=CompanyReading)
acting = APIRouter(prefix="/dashboard", tags=["dashboard"], route_class=CompanyActing)
OF_ALL: tuple[type[Problem], ...] = (ValidationFailed, Forbidden, NotFound)
OF_BODY: tuple[type[Problem], ...] = (RequestTimeout, PayloadTooLarge, UnsupportedMediaType)
_NO_ID = str(UUID(int=0))


@reading.get(
    "/company",
    name="company.read",
    summary="The company",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(own.Company, *OF_ALL),
)
async def get_company(caller: Caller, parts: PartsOf) -> Response:
    """Its plan and limits, its own exceptions to the plan, and what there is of it."""
    return answers.json(orjson.dumps(shown_company(await parts.store.company(caller), caller.region)))


@reading.get(
    "/keys",
    name="key.list",
    summary="Keys, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(own.KeyPage, *OF_ALL),
)
async def list_keys(asked: Annotated[PlacedQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """The company's own and its workspaces', those that are no longer good too. The keys themselves are stored nowhere."""
    now = parts.management.now()

    async def page(after: str, limit: int) -> list[Any]:
        return await parts.management.page(caller, asked.workspace_id, after, limit)

    return await _listed("keys", asked, caller, parts, page, lambda key: keys.shown(key, now))


@acting.post(
    "/keys",
    name="key.create",
    summary="Make a key",
    status_code=201,
    response_class=Response,
    responses=answers.documented(models.NewKey, *OF_ALL, *OF_BODY, WorkspaceArchived, status=201),
    openapi_extra=body.documented(CompanyKeyWish),
)
async def create_company_key(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """A company key, or with `workspaceId` a workspace's. It is told in this answer and never again. To manage by the API, a company
    key needs an allowlist.
    """
    wish = await body.read(request, CompanyKeyWish, seconds=parts.body_timeout)
    terms = Terms(wish.workspace_id, wish.name, wish.expires_at, tuple(dict.fromkeys(wish.ip_allowlist)))
    try:
        made = await parts.management.create(attempt, caller, terms, address=request.state.client_address)
    except NotFound:
        raise not_of_company() from None
    return answers.json(orjson.dumps(keys.shown_new(made, parts.management.now())), status=201)


@acting.post(
    "/keys/{id}/revoke",
    name="key.revoke",
    summary="Revoke a key",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Key, *OF_ALL, Conflict),
)
async def revoke_key(id: str, request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """For good: within ten seconds nobody gets in with it."""
    key = await parts.management.revoke(attempt, caller, check_id(id), address=request.state.client_address)
    return answers.json(orjson.dumps(keys.shown(key, parts.management.now())))


@acting.put(
    "/keys/{id}/allowlist",
    name="key.allowlist",
    summary="Say from where a key may be used",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Key, *OF_ALL, *OF_BODY, Conflict),
    openapi_extra=body.documented(AllowlistWish),
)
async def set_key_allowlist(id: str, request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """In place of what was said before, within ten seconds."""
    key_id = check_id(id)
    wish = await body.read(request, AllowlistWish, seconds=parts.body_timeout)
    allowlist = tuple(dict.fromkeys(wish.ip_allowlist))
    key = await parts.management.set_allowlist(attempt, caller, key_id, allowlist, address=request.state.client_address)
    return answers.json(orjson.dumps(keys.shown(key, parts.management.now())))


@acting.post(
    "/workspaces",
    name="workspace.create",
    summary="Make a workspace",
    status_code=201,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Workspace, *OF_ALL, *OF_BODY, status=201),
    openapi_extra=body.documented(WorkspaceWish),
)
async def create_workspace(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """With a chain of its own, which begins with its first event."""
    wish = await body.read(request, WorkspaceWish, seconds=parts.body_timeout)
    return answers.json(orjson.dumps(await parts.tenants.add_workspace(attempt, caller, wish.name)), status=201)


@acting.post(
    "/workspaces/{id}/archive",
    name="workspace.archive",
    summary="Archive a workspace",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Workspace, *OF_ALL, Conflict),
)
async def archive_workspace(id: str, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """Within ten seconds it takes no more events; it can still be read."""
    return answers.json(orjson.dumps(await parts.tenants.set_archived(attempt, caller, check_id(id), True)))


@acting.post(
    "/workspaces/{id}/unarchive",
    name="workspace.unarchive",
    summary="Take an archived workspace back",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Workspace, *OF_ALL, Conflict),
)
async def unarchive_workspace(id: str, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """It takes events again, within ten seconds; its chain goes on where it was."""
    return answers.json(orjson.dumps(await parts.tenants.set_archived(attempt, caller, check_id(id), False)))


@reading.get(
    "/projects",
    name="project.list",
    summary="Projects, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.ProjectPage, *OF_ALL),
)
async def list_company_projects(asked: Annotated[PlacedQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Of all workspaces, or of one."""
    bound = question("projects", caller, asked.question())
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    found = await parts.store.projects_of_company(caller, asked.workspace_id, after, asked.limit + 1)
    return answers.listed(found, asked.limit, parts.cursors, bound, shown_project)


@acting.post(
    "/projects",
    name="project.create",
    summary="Make a project",
    status_code=201,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Project, *OF_ALL, *OF_BODY, WorkspaceArchived, status=201),
    openapi_extra=body.documented(ProjectWish),
)
async def create_project(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """Events may name it as `projectId` from then on."""
    wish = await body.read(request, ProjectWish, seconds=parts.body_timeout)
    return answers.json(orjson.dumps(await parts.tenants.add_project(attempt, caller, wish.workspace_id, wish.name)), status=201)


@reading.get(
    "/webhooks",
    name="webhook.list",
    summary="Webhooks, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(webhook_models.WebhookPage, *OF_ALL),
)
async def list_company_webhooks(asked: Annotated[PlacedQuery, Query()], caller: Caller, parts: PartsOf) -> Response:
    """Of all workspaces, or of one; enabled and disabled ones."""
    now = parts.webhooks.now()

    async def page(after: str, limit: int) -> list[Any]:
        return list(await parts.webhooks.of_company(caller, asked.workspace_id, after, limit))

    return await _listed("webhooks", asked, caller, parts, page, lambda webhook: webhook.shown(now))


@acting.post(
    "/webhooks",
    name="webhook.create",
    summary="Register a webhook in a workspace",
    status_code=201,
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(
        webhook_models.NewWebhook, *OF_ALL, *OF_BODY, PlanRestricted, PlanLimitExceeded, WorkspaceArchived, status=201
    ),
    openapi_extra=body.documented(PlacedWebhookWish),
)
async def create_placed_webhook(request: Request, caller: Caller, attempt: AttemptOf, parts: PartsOf) -> Response:
    """It is told of each event that is stored from now on. The secret is told in this answer and never again."""
    wish = await body.read(request, PlacedWebhookWish, seconds=parts.body_timeout)
    act = Act(attempt, caller, request.state.client_address)
    try:
        made = await parts.webhooks.create(act, wish.workspace_id, wish.project_id, wish.terms())
    except NotFound:
        raise not_of_company() from None
    return answers.json(orjson.dumps(made.webhook.shown(parts.webhooks.now()) | {"secret": made.secret}), status=201)


async def _listed(
    route: str, asked: PlacedQuery, caller: Caller, parts: PartsOf, page: Callable[..., Any], shown: Callable[[Any], dict[str, Any]]
) -> Response:
    """A page of what has an id, in the order of ids."""
    bound = question(f"dashboard/{route}", caller, asked.question())
    after = str(UUID(bytes=parts.cursors.read(bound, asked.cursor).tie)) if asked.cursor else _NO_ID
    found = await page(after, asked.limit + 1)
    return answers.listed([(each, Position(0, UUID(each.id).bytes)) for each in found], asked.limit, parts.cursors, bound, shown)
