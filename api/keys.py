"""``/v1/keys``: making workspace keys, rotating keys, and what the calling key is."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api import answers, body, models, parameters
from api.audited import AttemptOf, Manager, ManagingRoute
from api.context import Caller, PartsOf
from api.events import check_id
from api.management import Key, NewKey, Terms
from schemas.problems import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    Problem,
    RateLimited,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    WorkspaceArchived,
)

MAX_OVERLAP_SECONDS = 86_400
MAX_NETWORKS = 100

router = APIRouter(prefix="/v1", tags=["keys"])
managed_router = APIRouter(prefix="/v1", tags=["keys"], route_class=ManagingRoute)
_REFUSALS: tuple[type[Problem], ...] = (
    ValidationFailed,
    Unauthorized,
    Forbidden,
    NotFound,
    RequestTimeout,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
)


class KeyWish(body.Body):
    """What a new workspace key is to be."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="For people, to tell keys apart.")
    expires_at: body.Time | None = Field(None, description="RFC 3339 with an offset, in the future; null: it does not expire.")
    ip_allowlist: list[body.Listed] = Field(
        [], max_length=MAX_NETWORKS, description="Addresses and networks it may be used from; empty: any."
    )


class RotationWish(body.Body):
    """How a key is to give way to its successor."""

    overlap_seconds: int = Field(3600, ge=0, le=MAX_OVERLAP_SECONDS, description="How long the old key stays good beside the new one.")


@managed_router.post(
    "/workspaces/{id}/keys",
    name="key.create",
    summary="Make a workspace key",
    status_code=201,
    response_class=Response,
    responses=answers.documented(models.NewKey, *_REFUSALS, WorkspaceArchived, status=201),
    openapi_extra=body.documented(KeyWish),
)
async def create_key(id: str, request: Request, caller: Manager, attempt: AttemptOf, parts: PartsOf) -> Response:
    """For a company key that is bound to addresses (no wider than /8 in IPv4, /32 in IPv6), ten operations a minute.

    The key is told in this answer and never again. A 503 is an unknown outcome: there may be a key that nobody knows.
    """
    workspace_id = check_id(id)
    wish = await body.read(request, KeyWish, seconds=parts.body_timeout)
    terms = Terms(workspace_id, wish.name, wish.expires_at, tuple(dict.fromkeys(wish.ip_allowlist)))
    made = await parts.management.create(attempt, caller, terms, address=request.state.client_address)
    return answers.json(orjson.dumps(shown_new(made, parts.management.now())), status=201)


@managed_router.post(
    "/keys/{id}/rotate",
    name="key.rotate",
    summary="Replace a key by a new one of the same scope, allowlist and expiry",
    status_code=201,
    response_class=Response,
    responses=answers.documented(models.RotatedKey, *_REFUSALS, Conflict, WorkspaceArchived, status=201),
    openapi_extra=body.documented(RotationWish),
)
async def rotate_key(id: str, request: Request, caller: Manager, attempt: AttemptOf, parts: PartsOf) -> Response:
    """Any key of the company, the calling one too, by the same rules as making one. The old key stays good for the overlap and
    can't be rotated again.
    """
    key_id = check_id(id)
    wish = await body.read(request, RotationWish, seconds=parts.body_timeout)
    address: str = request.state.client_address
    rotation = await parts.management.rotate(attempt, caller, key_id, wish.overlap_seconds, address=address)
    now = parts.management.now()
    return answers.json(orjson.dumps(shown_new(rotation.new, now) | {"previous": shown(rotation.old, now)}), status=201)


@router.get(
    "/keys/status",
    summary="The calling key",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Key, ValidationFailed, Unauthorized),
)
async def key_status(caller: Caller, parts: PartsOf) -> Response:
    """As it stands now: a key that was just revoked says so here for the seconds in which it still passes."""
    found = await parts.management.key_of(caller)
    if found is None:
        raise Unauthorized
    return answers.json(orjson.dumps(shown(found, parts.management.now())))


def shown_new(made: NewKey, now: int) -> dict[str, Any]:
    """The JSON object of a key just made."""
    return shown(made.key, now) | {"key": made.text}


def shown(key: Key, now: int) -> dict[str, Any]:
    """The JSON object of a key."""
    terms = key.terms
    return {
        "id": key.id,
        "prefix": key.prefix,
        "scope": terms.scope.name,
        "workspaceId": terms.workspace_id,
        "name": terms.name,
        "status": key.status(now),
        "createdAt": answers.time(key.created_at),
        "expiresAt": answers.time(terms.expires_at),
        "lastUsedAt": answers.time(key.last_used_at),
        "ipAllowlist": [str(each) for each in terms.allowlist],
    }
