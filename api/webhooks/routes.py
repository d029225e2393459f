"""What changes endpoints: each use is audited, and counts as one of its company's ten operations a minute."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response

from api import answers, body
from api.audited import AttemptOf, Manager, ManagingRoute
from api.context import PartsOf
from api.events import check_id
from api.webhooks import models
from api.webhooks.actions import Act, NewSecret
from api.webhooks.rows import Webhook
from api.webhooks.wishes import ReplayWish, WebhookChange, WebhookWish
from schemas.problems import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    PlanLimitExceeded,
    PlanRestricted,
    Problem,
    RateLimited,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    WorkspaceArchived,
)

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=ManagingRoute)
_REFUSALS: tuple[type[Problem], ...] = (ValidationFailed, Unauthorized, Forbidden, NotFound, RateLimited)
_OF_BODY: tuple[type[Problem], ...] = (RequestTimeout, PayloadTooLarge, UnsupportedMediaType)
_OF_PLAN: tuple[type[Problem], ...] = (PlanRestricted, PlanLimitExceeded)


def _act(request: Request, caller: Manager, attempt: AttemptOf) -> Act:
    return Act(attempt, caller, request.state.client_address)


ActOf = Annotated[Act, Depends(_act)]


@router.post(
    "/workspaces/{id}/webhooks",
    name="webhook.create",
    summary="Register a webhook",
    status_code=201,
    response_class=Response,
    responses=answers.documented(models.NewWebhook, *_REFUSALS, *_OF_BODY, *_OF_PLAN, WorkspaceArchived, status=201),
    openapi_extra=body.documented(WebhookWish),
)
async def create_webhook(id: str, request: Request, act: ActOf, parts: PartsOf) -> Response:
    """It is told of each event that is stored from now on. The secret, which its requests are signed with, is told in this answer
    and never again. A 503 is an unknown outcome: look at the list.
    """
    workspace_id = check_id(id)
    wish = await body.read(request, WebhookWish, seconds=parts.body_timeout)
    made = await parts.webhooks.create(act, workspace_id, wish.project_id, wish.terms())
    return _with_secret(made, parts, status=201)


@router.patch(
    "/webhooks/{id}",
    name="webhook.update",
    summary="Change a webhook",
    response_class=Response,
    responses=answers.documented(models.Webhook, *_REFUSALS, *_OF_BODY),
    openapi_extra=body.documented(WebhookChange),
)
async def change_webhook(id: str, request: Request, act: ActOf, parts: PartsOf) -> Response:
    """Within seconds it holds for what is sent from then on, attempts of earlier events included. Workspace and project are for good."""
    webhook_id = check_id(id)
    wish = await body.read(request, WebhookChange, seconds=parts.body_timeout)
    changed = await parts.webhooks.change(act, webhook_id, wish.changes())
    return _shown(changed, parts)


@router.post(
    "/webhooks/{id}/disable",
    name="webhook.disable",
    summary="Disable a webhook",
    response_class=Response,
    responses=answers.documented(models.Webhook, *_REFUSALS),
)
async def disable_webhook(id: str, act: ActOf, parts: PartsOf) -> Response:
    """What was still to be sent to it fails, and its replay is cancelled. Disabled already, it stays as it is."""
    disabled = await parts.webhooks.disable(act, check_id(id))
    return _shown(disabled, parts)


@router.post(
    "/webhooks/{id}/enable",
    name="webhook.enable",
    summary="Enable a webhook",
    response_class=Response,
    responses=answers.documented(models.Webhook, *_REFUSALS, *_OF_PLAN),
)
async def enable_webhook(id: str, act: ActOf, parts: PartsOf) -> Response:
    """It is told of each event that is stored from now on; of those in between tells a replay. Enabled already, it stays as it is."""
    enabled = await parts.webhooks.enable(act, check_id(id))
    return _shown(enabled, parts)


@router.post(
    "/webhooks/{id}/rotate-secret",
    name="webhook.rotate-secret",
    summary="Replace a webhook's secret by a new one",
    response_class=Response,
    responses=answers.documented(models.NewWebhook, *_REFUSALS, Conflict),
)
async def rotate_webhook_secret(id: str, act: ActOf, parts: PartsOf) -> Response:
    """For 24 hours `webhook-signature` holds a signature of each, and `x-hyrelog-signature` stays with the old one. The new secret is
    told in this answer and never again.
    """
    return _with_secret(await parts.webhooks.rotate_secret(act, check_id(id)), parts)


@router.post(
    "/webhooks/{id}/test",
    name="webhook.test",
    summary="Send a test to a webhook",
    status_code=202,
    response_class=Response,
    responses=answers.documented(models.TestDelivery, *_REFUSALS, status=202),
)
async def test_webhook(id: str, act: ActOf, parts: PartsOf) -> Response:
    """A delivery of type WEBHOOK_TEST, signed and retried as any; look at the deliveries for what became of it. Disabled webhooks
    get it too.
    """
    delivery_id = await parts.webhooks.test(act, check_id(id))
    return answers.json(orjson.dumps({"deliveryId": delivery_id}), status=202)


@router.post(
    "/webhooks/{id}/replay",
    name="webhook.replay",
    summary="Send events to a webhook again",
    status_code=202,
    response_class=Response,
    responses=answers.documented(models.NewReplay, *_REFUSALS, *_OF_BODY, Conflict, status=202),
    openapi_extra=body.documented(ReplayWish),
)
async def replay_webhook(id: str, request: Request, act: ActOf, parts: PartsOf) -> Response:
    """Up to 1,000,000 events, one replay at a time, of what the webhook's project and filters let through. A delivery keeps its id,
    whether it was made before or not. How far it is, the webhook tells.
    """
    webhook_id = check_id(id)
    wish = await body.read(request, ReplayWish, seconds=parts.body_timeout)
    replay = (await parts.replays.begin(act, webhook_id, wish)).shown()
    return answers.json(orjson.dumps({"replayId": replay.pop("id"), **replay}), status=202)


@router.delete(
    "/webhooks/{id}",
    name="webhook.delete",
    summary="Delete a webhook",
    response_class=Response,
    responses=answers.documented(models.Webhook, *_REFUSALS),
)
async def delete_webhook(id: str, act: ActOf, parts: PartsOf) -> Response:
    """For good: what was still to be sent to it fails. It and its deliveries can still be read by their ids."""
    deleted = await parts.webhooks.delete(act, check_id(id))
    return _shown(deleted, parts)


def _shown(webhook: Webhook, parts: PartsOf) -> Response:
    return answers.json(orjson.dumps(webhook.shown(parts.webhooks.now())))


def _with_secret(made: NewSecret, parts: PartsOf, status: int = 200) -> Response:
    return answers.json(orjson.dumps(made.webhook.shown(parts.webhooks.now()) | {"secret": made.secret}), status=status)
