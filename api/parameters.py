"""Query parameters: strict, each named in its error, none unknown, none twice."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.event import FIRST_TIME, LAST_TIME
from schemas.ids import UUID
from schemas.incoming import MAX_EXTRACTED_BYTES, MAX_TENANT_CHARACTERS, parse_time
from schemas.openapi import HEX_32
from schemas.problems import Detail, ValidationFailed
from schemas.tokens import words
from schemas.topics import Region
from schemas.webhooks import State

MAX_LIMIT = 200
_TEXT = r"^[^\x00]*$"  # PostgreSQL has no U+0000
UUID_PATTERN = f"^{UUID}$"


def _time(value: object) -> int:
    text = value if isinstance(value, str) else ""
    if " " in text:
        raise PydanticCustomError("time", "holds a space: the + of an offset must be sent as %2B")
    try:
        return parse_time(text)
    except ValueError as error:
        raise PydanticCustomError("time", "{reason}", {"reason": str(error)}) from None


def _extracted(text: str | None) -> str | None:
    if text is not None and len(text.encode()) > MAX_EXTRACTED_BYTES:
        raise PydanticCustomError("bytes", "is longer than {most} bytes of UTF-8", {"most": MAX_EXTRACTED_BYTES})
    return text


def _words(text: str | None) -> str | None:
    if text is not None and not words(text):
        raise PydanticCustomError("words", "holds no word: a letter or a digit at least")
    return text


Time = Annotated[int, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Rows a page.")]
Cursor = Annotated[str | None, Field(max_length=200, description="`nextCursor` of the page before, with the same filters and order.")]
WorkspaceId = Annotated[str | None, Field(pattern=UUID_PATTERN, description="One workspace of the company; another's gives an empty page.")]
ProjectId = Annotated[str | None, Field(pattern=UUID_PATTERN, description="One project; another's gives an empty page.")]
Extracted = Annotated[str | None, Field(pattern=_TEXT, min_length=1), AfterValidator(_extracted)]
Words = Annotated[str | None, Field(pattern=_TEXT, min_length=3, max_length=200), AfterValidator(_words)]


class Outcome(StrEnum):
    """How what happened ended."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DENIED = "DENIED"


class Sort(StrEnum):
    """What events are ordered by."""

    TIMESTAMP = "timestamp"
    SEQ = "seq"


class Order(StrEnum):
    """Newest or oldest first."""

    DESCENDING = "desc"
    ASCENDING = "asc"


class Include(StrEnum):
    """What may be asked for beside the event."""

    VERIFICATION = "verification"


class ListQuery(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    limit: Limit = 50
    cursor: Cursor = None

    def question(self) -> dict[str, str | None]:
        """What a cursor is bound to: filters and order, but not the size of a page or what is shown of a row."""
        asked = self.model_dump(by_alias=True, exclude={"limit", "cursor", "include"})
        return {name: None if value is None else str(value) for name, value in asked.items()}


class _Times(BaseModel):
    start: Time = Field(FIRST_TIME, alias="from", description="From this `timestamp` on (inclusive). RFC 3339 with an offset.")
    end: Time = Field(LAST_TIME + 1, alias="to", description="Up to this `timestamp` (exclusive).")


class Filters(BaseModel):
    """Which events are wanted, of those that are the key's, whenever they happened."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    received_start: Time | None = Field(None, alias="receivedFrom", description="From this `receivedAt` on (inclusive).")
    received_end: Time | None = Field(None, alias="receivedTo", description="Up to this `receivedAt` (exclusive).")
    category: str | None = Field(None, pattern=r"^[a-z][a-z0-9._-]{0,63}$", description="Exactly this category.")
    action: str | None = Field(
        None,
        pattern=r"^([A-Za-z0-9._:/-]{1,128}|[A-Za-z0-9._:/-]{0,127}\.\*)$",
        description="Exactly this action; `user.*` is every action that begins with `user.`.",
    )
    outcome: Outcome | None = Field(None, description="Exactly this outcome.")
    workspace_id: WorkspaceId = Field(None, alias="workspaceId")
    project_id: ProjectId = Field(None, alias="projectId")
    tenant_id: str | None = Field(
        None, alias="tenantId", pattern=_TEXT, min_length=1, max_length=MAX_TENANT_CHARACTERS, description="Your customer, as you named it."
    )
    actor_id: Extracted = Field(None, alias="actorId", description="`actor.id`, exactly.")
    actor_email: Extracted = Field(None, alias="actorEmail", description="`actor.email`, exactly.")
    resource_type: Extracted = Field(None, alias="resourceType", description="`resource.type`, exactly.")
    resource_id: Extracted = Field(None, alias="resourceId", description="`resource.id`, exactly.")
    trace_id: str | None = Field(None, alias="traceId", pattern=HEX_32, description="32 lower-case hex digits.")
    q: Words = Field(
        None,
        description="Words, all of which are in `action`, `actor`, `resource` or `metadata`; upper and lower case are the same. "
        "Of one event the first 16,384 characters of text and 2,000 different words are found.",
    )


class EventFilters(Filters, _Times):
    """Which events are wanted, of those that are the key's."""


IdempotencyKey = Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,255}$", description="The event that this key stands for.")]


class EventQuery(EventFilters, ListQuery):
    """What ``GET /v1/events`` takes."""

    idempotency_key: IdempotencyKey = Field(None, alias="idempotencyKey")
    sort: Sort = Field(Sort.TIMESTAMP, description="`seq`: as stored, of one workspace only.")
    order: Order = Field(Order.DESCENDING, description="By `timestamp`, then `seq` within a workspace, `id` within a company.")
    include: Include | None = Field(None, description="`verification` adds salts and commitments.")


class TailQuery(EventFilters):
    """What ``GET /v1/events/tail`` takes."""

    since: Time | None = Field(None, description="Begin with what was received from then on; without it, now. RFC 3339 with an offset.")
    last_event_id: str | None = Field(
        None,
        alias="lastEventId",
        max_length=8000,
        description="Begin behind this `id`, whatever `since` says. The header `Last-Event-ID` goes before it.",
    )

    def question(self) -> dict[str, str | None]:
        """The filters; where to begin is not one."""
        asked = self.model_dump(by_alias=True, exclude={"since", "last_event_id"})
        return {name: None if value is None else str(value) for name, value in asked.items()}


class WorkspaceQuery(ListQuery):
    """What a list of workspaces or projects takes."""


class WebhookQuery(ListQuery):
    """What a list of webhooks takes."""


class DeliveryQuery(ListQuery):
    """What ``GET /v1/webhooks/{id}/deliveries`` takes."""

    status: State | None = Field(None, description="Deliveries in this state now.")
    event_id: str | None = Field(None, alias="eventId", pattern=UUID_PATTERN, description="The delivery of this event.")
    start: Time = Field(FIRST_TIME, alias="from", description="Of events received from this time on (inclusive), to the millisecond.")
    end: Time = Field(LAST_TIME + 1, alias="to", description="Of events received up to this time (exclusive), to the millisecond.")


class ExportQuery(ListQuery):
    """What a list of exports takes."""


class DownloadQuery(BaseModel):
    """What the download of an export takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: int = Field(0, ge=0, le=2**53 - 1, description="Leave out so many bytes of the content, counted before any Content-Encoding.")


class RejectionQuery(ListQuery):
    """What ``GET /v1/rejections`` takes."""

    workspace_id: WorkspaceId = Field(None, alias="workspaceId")


class OperatorRejectionQuery(ListQuery):
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
