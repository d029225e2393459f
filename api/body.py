"""Request bodies of the API: small JSON objects, strict, with every finding named by its field."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect

from ops.addresses import Network, network
from schemas.canonical import InvalidJson, canonical, check_duplicates, parse
from schemas.incoming import field_name, parse_time
from schemas.problems import Detail, PayloadTooLarge, RequestTimeout, UnsupportedMediaType, ValidationFailed, invalid

MAX_BYTES = 64 << 10
AnyBody = TypeVar("AnyBody", bound="Body")


class Body(BaseModel):
    """What a route takes: camelCase, exact types, nothing unknown."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


def _time(value: Any) -> int:
    try:
        return parse_time(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PydanticCustomError("time", "{reason}", {"reason": str(error)}) from None


def _network(value: Any) -> Network:
    try:
        if isinstance(value, str) and "%" not in value:
            return network(value)
    except ValueError:
        pass
    raise PydanticCustomError("network", "must be an address or a network in CIDR notation, IPv4 or IPv6")


Time = Annotated[int, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""Microseconds of an RFC 3339 time with an offset."""
Listed = Annotated[Network, PlainValidator(_network), WithJsonSchema({"type": "string"})]
"""An address or a network."""


async def read(request: Request, model: type[AnyBody], *, seconds: float) -> AnyBody:
    """The body as ``model``; an empty one is ``{}``. ``seconds`` is how long it may take to arrive.

    Raises ``ValidationFailed``, ``PayloadTooLarge``, ``UnsupportedMediaType``, ``RequestTimeout``.
    """
    try:
        async with asyncio.timeout(seconds):
            text = await _receive(request)
    except (TimeoutError, ClientDisconnect):  # nobody is left to be told, but the audit is
        raise RequestTimeout from None
    try:
        return model.model_validate(_parsed(request, text))
    except ValidationError as error:
        raise ValidationFailed(details=tuple(Detail(each["msg"], field_name(each["loc"])) for each in error.errors())) from None


def documented(model: type[Body]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that takes this body."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "requestBody": {
            "required": not schema.keys().isdisjoint(("required", "oneOf")),
            "content": {"application/json": {"schema": schema}},
        }
    }


async def _receive(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BYTES:
            raise PayloadTooLarge(f"The request body is larger than {MAX_BYTES >> 10} KiB")
        pieces.append(piece)
    return b"".join(pieces)


def _parsed(request: Request, text: bytes) -> Any:
    if not text:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or "content-encoding" in request.headers:
        raise UnsupportedMediaType("The request body must be application/json")
    try:
        value = parse(text)
        check_duplicates(text, canonical(value).count(b":"))
    except InvalidJson as error:
        raise invalid(field_name(error.path), error.message) from None
    return value
