"""Endpoints and their deliveries, looked at: for keys that may manage, not counted among their operations."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api import answers, parameters
from api.audited import CompanyRoute, Overseer
from api.context import PartsOf
from api.cursor import Position
from api.events import check_id, question
from api.parameters import DeliveryQuery, WebhookQuery
from api.webhooks import models
from api.webhooks.deliveries import DeliveryFilter
from schemas.problems import Forbidden, NotFound, ValidationFailed

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=CompanyRoute)
_NO_ID = str(UUID(int=0))


@router.get(
    "/workspaces/{id}/webhooks",
    summary="Webhooks of a workspace, oldest first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.WebhookPage, ValidationFailed, Forbidden, NotFound),
)
async def list_webhooks(id: str, asked: Annotated[WebhookQuery, Query()], caller: Overseer, parts: PartsOf) -> Response:
    """Enabled and disabled ones. For a key that may manage (a company's, bound to addresses); reads are not counted as operations."""
    bound = question("webhooks", caller, {"id": check_id(id)})
    after = str(UUID(bytes=parts.cursors.read(bound, asked.cursor).tie)) if asked.cursor else _NO_ID
    found = await parts.webhooks.of_workspace(caller, id, after, asked.limit + 1)
    placed = [(each, Position(0, UUID(each.id).bytes)) for each in found]
    now = parts.webhooks.now()
    return answers.listed(placed, asked.limit, parts.cursors, bound, lambda webhook: webhook.shown(now))


@router.get(
    "/webhooks/{id}",
    summary="A webhook",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Webhook, ValidationFailed, Forbidden, NotFound),
)
async def get_webhook(id: str, caller: Overseer, parts: PartsOf) -> Response:
    """As it stands, with its latest replay; a deleted one too. Its secret is never told again."""
    found = await parts.webhooks.get(caller, check_id(id))
    return answers.json(orjson.dumps(found.shown(parts.webhooks.now())))


@router.get(
    "/webhooks/{id}/deliveries",
    summary="Deliveries of a webhook, those of the newest events first",
    dependencies=[Depends(parameters.once)],
    response_class=Response,
    responses=answers.documented(models.DeliveryPage, ValidationFailed, Forbidden, NotFound),
)
async def list_deliveries(id: str, asked: Annotated[DeliveryQuery, Query()], caller: Overseer, parts: PartsOf) -> Response:
    """Each with its attempts of the last 30 days. With `status`, a page may have fewer rows than asked for, or none, and still a
    `nextCursor`: go on until that is null.
    """
    bound = question("deliveries", caller, {"id": check_id(id), **asked.question()})
    after = parts.cursors.read(bound, asked.cursor) if asked.cursor else None
    wanted = DeliveryFilter(asked.status, asked.event_id, asked.start, asked.end)
    page = await parts.deliveries.page(caller, id, wanted, after, asked.limit)
    more = None if page.more is None else parts.cursors.write(bound, page.more)
    return answers.page((orjson.dumps(each.shown()) for each in page.deliveries), more)
