"""What is asked of exports: the body of their route."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.asked import PLAIN, EventFilter
from api.body import Body, Time
from api.parameters import Filters, IdempotencyKey
from schemas.event import FIRST_TIME, LAST_TIME
from schemas.problems import Detail, ValidationFailed, invalid

Source = Literal["HOT", "ARCHIVED", "HOT_AND_ARCHIVED"]
Format = Literal["JSONL", "CSV", "PARQUET"]


class ExportFilters(Filters):
    """Which events: those that pass every filter. The same ones as in `GET /v1/events`."""

    idempotency_key: IdempotencyKey = Field(None, alias="idempotencyKey")

    def asked(self) -> dict[str, Any]:
        """As they were sent, without what is null."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def filter(self, start: int | None, end: int | None) -> EventFilter:
        """As events are judged by them. Times are microseconds; ``None``: any."""
        values = self.model_dump(by_alias=True)
        return EventFilter(
            workspace_id=self.workspace_id,
            start=FIRST_TIME if start is None else start,
            end=LAST_TIME + 1 if end is None else end,
            descending=False,
            received_start=self.received_start,
            received_end=self.received_end,
            plain={name: str(values[name]) for name in PLAIN if values[name] is not None},
            idempotency_key=self.idempotency_key,
            words=self.q,
        )


class ExportWish(Body):
    """What is to be exported, and how."""

    source: Source = Field(description="HOT: from the database. ARCHIVED: what is in the archive; takes `from` and `to`.")
    format: Format = Field(description="JSONL is what can be verified. Groups are JSON text in CSV and PARQUET.")
    filters: ExportFilters = Field(default_factory=ExportFilters, description="Those of `GET /v1/events`; `from` and `to` stand beside it.")
    start: Time | None = Field(None, alias="from", description="From this `timestamp` on (inclusive). RFC 3339 with an offset.")
    end: Time | None = Field(None, alias="to", description="Up to this `timestamp` (exclusive).")
    limit: int | None = Field(None, ge=1, le=2**53 - 1, description="Rows at most; null: as many as the plan allows.")
    csv_raw: bool = Field(False, description="Leave cells of a CSV as they are, even if a spreadsheet would take them for formulas.")
    verification: bool = Field(True, description="Whether lines of JSONL have `verification`, so that they can be checked offline.")

    def check(self) -> None:
        """Raises ``ValidationFailed`` for what does not go together."""
        archived = self.source != "HOT"
        if archived and self.filters.idempotency_key is not None:
            raise invalid("filters.idempotencyKey", "is no filter of an archive: keys are not kept there")
        if self.source == "ARCHIVED":
            missing = [name for name, value in (("from", self.start), ("to", self.end)) if value is None]
            if missing:
                raise ValidationFailed(details=tuple(Detail("is required where source is ARCHIVED", name) for name in missing))
