"""``/v1/schemas``: the Avro schemas of the topics, by fingerprint, for whoever reads them (contract §6)."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Depends, Response

from api import answers, parameters
from schemas.codec import SCHEMAS
from schemas.problems import NotFound, ValidationFailed

router = APIRouter(prefix="/v1/schemas", tags=["schemas"])


@router.get(
    "/{fingerprint}",
    summary="The Avro schema with this fingerprint",
    dependencies=[Depends(parameters.none)],
    response_class=Response,
    responses=answers.documented(dict[str, Any], ValidationFailed, NotFound),
)
async def get_schema(fingerprint: str) -> Response:
    """A record begins with C3 01 and its schema's CRC-64-AVRO, little-endian; here it is 16 lower-case hex digits, most
    significant first. Needs no key. What a fingerprint stands for never changes.
    """
    schema = SCHEMAS.get(fingerprint)
    if schema is None:
        raise NotFound
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(orjson.dumps(schema), headers=headers, media_type="application/json")
