"""Query parameters: strict, each named in its error, none unknown, none twice."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.event import to_micros
from schemas.incoming import parse_time
from schemas.problems import Detail, ValidationFailed
from schemas.topics import Region

MAX_LIMIT = 200
_FIRST_MOMENT = to_micros(datetime(1, 1, 1, tzinfo=UTC))
_LAST_MOMENT = to_micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) + 1
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def _time(text: str) -> int:
    if " " in text:
        raise PydanticCustomError("time", "holds a space: the + of an offset must be sent as %2B")
    try:
        return parse_time(text)
    except ValueError as error:
        raise PydanticCustomError("time", "{reason}", {"reason": str(error)}) from None


Time = Annotated[int, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Rows a page.")]
Cursor = Annotated[str | None, Field(max_length=200, description="`nextCursor` of the page before, with the same filters and order.")]
WorkspaceId = Annotated[str | None, Field(pattern=_UUID, description="One workspace of the company; another's gives an empty page.")]


class Order(StrEnum):
    """Newest or oldest first."""

    DESCENDING = "desc"
    ASCENDING = "asc"


class Include(StrEnum):
    """What may be asked for beside the event."""

    VERIFICATION = "verification"


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    limit: Limit = 50
    cursor: Cursor = None


class EventQuery(_Parameters):
    """What ``GET /v1/events`` takes."""

    start: Time = Field(_FIRST_MOMENT, alias="from", description="From this `timestamp` on (inclusive). RFC 3339 with an offset.")
    end: Time = Field(_LAST_MOMENT, alias="to", description="Up to this `timestamp` (exclusive).")
    category: str | None = Field(None, pattern=r"^[a-z][a-z0-9._-]{0,63}$", description="Exactly this category.")
    action: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9._:/-]{1,128}|[A-Za-z0-9._:/-]{0,127}\.\*)$",
        description="Exactly this action; `user.*` is every action that begins with `user.`.",
    )
    workspace_id: WorkspaceId = Field(None, alias="workspaceId")
    order: Order = Field(Order.DESCENDING, description="By `timestamp`, then `seq` within a workspace, `id` within a company.")
    include: Include | None = Field(None, description="`verification` adds salts and commitments.")

    def question(self) -> dict[str, str | None]:
        """What a cursor is bound to: filters and order, but not the size of a page or what is shown of a row."""
        return {
            "from": str(self.start),
            "to": str(self.end),
            "category": self.category,
            "action": self.action,
            "workspaceId": self.workspace_id,
            "order": self.order.value,
        }


class RejectionQuery(_Parameters):
    """What ``GET /v1/rejections`` takes."""

    workspace_id: WorkspaceId = Field(None, alias="workspaceId")


class OperatorRejectionQuery(_Parameters):
    """What ``GET /internal/rejections`` takes."""

    region: Region = Field(description="The region whose rejections are wanted.")


def once(request: Request) -> None:
    """Refuse a parameter that is given twice: which one would count?"""
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValidationFailed(details=tuple(Detail("is given more than once", name) for name in repeated))


def none(request: Request) -> None:
    """Refuse every parameter, on a route that has none."""
    unknown: dict[str, Any] = dict(request.query_params)
    if unknown:
        raise ValidationFailed(details=tuple(Detail("unknown parameter", name) for name in unknown))
