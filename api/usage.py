"""``/v1/usage`` and ``/v1/categories``: what a company may do, and what it does."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Depends, Response

from api import answers, models, parameters
from api.context import Caller, PartsOf
from schemas.plans import MEMBERS, STANDARD_CATEGORIES
from schemas.problems import ValidationFailed

router = APIRouter(prefix="/v1", tags=["workspaces"])


@router.get(
    "/usage",
    summary="Plan, limits and what is used",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.Usage, ValidationFailed),
)
async def get_usage(caller: Caller, parts: PartsOf) -> Response:
    """The limits of the company's plan as they hold for it. What is left of the running minute, each answer's headers say."""
    row = await parts.store.usage(caller)
    limits: dict[str, Any] = orjson.loads(row["limits"])
    body = {
        "plan": row["plan"],
        "limits": {name: limits[name] for name in MEMBERS},
        "used": {name: row[name] for name in ("events", "workspaces", "projects", "keys")},
    }
    return answers.json(orjson.dumps(body))


@router.get(
    "/categories",
    summary="The standard categories",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(models.CategoryList, ValidationFailed),
)
async def list_categories() -> Response:
    """What `category` may be on every plan. Needs no key. New ones may be added."""
    body = {"data": sorted(STANDARD_CATEGORIES), "nextCursor": None}
    return Response(orjson.dumps(body), headers={"Cache-Control": "public, max-age=3600"}, media_type="application/json")
