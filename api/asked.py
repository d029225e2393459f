"""What is asked for: which events, in which order, and where in the list to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from struct import Struct
from typing import Any, Final
from uuid import UUID

from api.cursor import Position
from ops.db import Row
from schemas.tokens import field_token, word_tokens, words

PLAIN: Final = ("category", "action", "outcome", "projectId", "tenantId", "actorId", "actorEmail", "resourceType", "resourceId", "traceId")
"""The filters that a column answers, by their names in the query."""
_NO_TIE = bytes(16)
_SEQ = Struct(">8xq")
_LAST_SEQ = _SEQ.pack(2**63 - 1)


class Sort(StrEnum):
    """What a list is ordered by: time and then seq, time and then id, or seq alone."""

    WORKSPACE = "workspace"
    COMPANY = "company"
    SEQ = "seq"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of a caller's, in which order. Times are microseconds, from (inclusive) to (exclusive); ``None``: any.

    ``plain`` is of ``PLAIN``; an ``action`` that ends with ``.*`` is a prefix. ``by_seq`` takes a workspace.
    """

    workspace_id: str | None
    start: int
    end: int
    descending: bool
    by_seq: bool = False
    received_start: int | None = None
    received_end: int | None = None
    plain: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    words: str | None = None

    @property
    def sort(self) -> Sort:
        """What the list is ordered by."""
        if self.by_seq:
            return Sort.SEQ
        return Sort.COMPANY if self.workspace_id is None else Sort.WORKSPACE

    def first(self) -> Position:
        """The place before the list's first row."""
        if self.by_seq:
            return Position(0, _LAST_SEQ if self.descending else _NO_TIE)
        return Position(self.end if self.descending else self.start, _NO_TIE)

    def position(self, row: Row) -> Position:
        """Where a row stands in the list."""
        if self.sort is Sort.COMPANY:
            return Position(row["occurred_at"], row["id"].bytes)
        return Position(0 if self.by_seq else row["occurred_at"], _SEQ.pack(row["seq"]))

    def event_place(self, at: Position) -> tuple[int | None, int | None, UUID | None]:
        """The position as the database's ``event_place``."""
        if self.sort is Sort.COMPANY:
            return at.time, None, UUID(bytes=at.tie)
        return None if self.by_seq else at.time, _SEQ.unpack(at.tie)[0], None

    def event_filter(self) -> tuple[Any, ...]:
        """The database's ``event_filter``."""
        action = self.plain.get("action")
        is_prefix = action is not None and action.endswith(".*")
        columns: dict[str, Any] = {**dict.fromkeys(PLAIN), **self.plain, "action": None if is_prefix else action}
        category, exact, *others, trace = columns.values()
        prefix = action[:-1] if action and is_prefix else None
        times = (self.start, self.end, self.received_start, self.received_end)
        return (*times, category, exact, prefix, *others, None if trace is None else UUID(trace))

    def word_tokens(self, company_id: str) -> list[int]:
        """Those of the words asked for: no column of ``events`` could answer them."""
        return word_tokens(company_id, words(self.words or ""))

    def tokens(self, company_id: str) -> list[int]:
        """What an event has to have in the search table; empty when neither a column's value nor a word is asked for."""
        found = [field_token(company_id, name, value) for name, value in self.plain.items()]
        found += self.word_tokens(company_id)
        if found and self.workspace_id is not None:
            found.append(field_token(company_id, "workspaceId", self.workspace_id))
        return found
