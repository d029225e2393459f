"""What is asked of endpoints: the bodies of their routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.body import Body, Time
from api.webhooks.rows import Terms
from schemas.ids import UUID
from schemas.webhooks import MAX_PATTERN_CHARACTERS, MAX_PATTERNS, MAX_STARS, Filters

MAX_URL_BYTES = 2048
MAX_REPLAYED_IDS = 1000
_TEXT = r"^[^\x00]*$"  # PostgreSQL has no U+0000

Id = Annotated[str, Field(pattern=f"^{UUID}$", json_schema_extra={"format": "uuid"})]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_BYTES,
        pattern=r"^[\x21-\x7e]*$",
        description="Where events are posted to: `https://`, port 443, a public host; no user, no fragment. Redirects are not followed.",
    ),
]
Events = Annotated[list[Literal["AUDIT_EVENT_CREATED"]], Field(min_length=1, max_length=20, description="What it is told of.")]
Categories = Annotated[
    str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS, pattern=rf"^[a-z0-9._-]*(\*[a-z0-9._-]*){{0,{MAX_STARS}}}$")
]
Actions = Annotated[
    str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS, pattern=rf"^[A-Za-z0-9._:/-]*(\*[A-Za-z0-9._:/-]*){{0,{MAX_STARS}}}$")
]
Seq = Annotated[int, Field(ge=1, le=2**53 - 1)]
Description = Annotated[str | None, Field(max_length=500, pattern=_TEXT, description="For people.")]

_WAYS = ({"start", "end"}, {"from_seq", "to_seq"}, {"event_ids"})


class FiltersWish(Body):
    """Which events: those whose `category` and `action` each fit one of the patterns, in which `*` is any run of characters."""

    category: list[Categories] = Field([], max_length=MAX_PATTERNS, description="`auth`, `data*`; empty: any.")
    action: list[Actions] = Field([], max_length=MAX_PATTERNS, description="`user.*`, `*.deleted`; empty: any.")

    def filters(self) -> Filters:
        """As events are judged by them."""
        return Filters.parse({"category": self.category, "action": self.action})


class WebhookWish(Body):
    """What a new endpoint is to be."""

    url: Url
    events: Events
    project_id: Id | None = Field(None, description="One project of the workspace; null: all of it.")
    filters: FiltersWish | None = Field(None, description="Which events; null: all.")
    description: Description = None

    def terms(self) -> Terms:
        """What its owner says of it."""
        return Terms(self.url, tuple(dict.fromkeys(self.events)), _filters(self.filters), self.description)


class WebhookChange(Body):
    """What is to be different; what is left out stays as it is."""

    url: Url = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    filters: FiltersWish | None = Field(None, description="All patterns anew; null: no filters.")
    description: Description = None

    def changes(self) -> dict[str, Any]:
        """Those fields of ``Terms`` that were sent."""
        values = (self.url, tuple(dict.fromkeys(self.events)), _filters(self.filters), self.description)
        named = dict(zip(("url", "events", "filters", "description"), values, strict=True))
        return {name: value for name, value in named.items() if name in self.model_fields_set}


class ReplayWish(Body):
    """What is to be sent again: events by time, by their place in the chain, or one by one."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["from", "to"], "maxProperties": 2},
                {"required": ["fromSeq", "toSeq"], "maxProperties": 2},
                {"required": ["eventIds"], "maxProperties": 1},
            ]
        }
    )

    start: Time = Field(default_factory=int, alias="from", description="From this `timestamp` on (inclusive).")
    end: Time = Field(default_factory=int, alias="to", description="Up to this `timestamp` (exclusive).")
    from_seq: Seq = Field(default_factory=int, description="From this `seq` on.")
    to_seq: Seq = Field(default_factory=int, description="Up to this `seq` (inclusive), or to the newest event.")
    event_ids: list[Id] = Field(default_factory=list, min_length=1, max_length=MAX_REPLAYED_IDS, description="These events.")

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if self.model_fields_set not in _WAYS:
            raise PydanticCustomError("way", "takes from and to, or fromSeq and toSeq, or eventIds")
        return self


def _filters(wish: FiltersWish | None) -> Filters:
    return Filters() if wish is None else wish.filters()
