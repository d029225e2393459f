"""From an event to its row in the search table."""

from __future__ import annotations

from typing import NamedTuple

from schemas.event import StoredEvent
from schemas.tokens import event_tokens


class SearchRow(NamedTuple):
    """A row, in the order of the statement's arguments. Times are microseconds, tokens an array literal."""

    workspace_id: str
    seq: int
    company_id: str
    occurred_at: int
    received_at: int
    id: str
    tokens: str


def handle(event: StoredEvent) -> SearchRow:
    """The event as it is found."""
    tokens = str(event_tokens(event))[1:-1]
    return SearchRow(event.workspace_id, event.seq, event.company_id, event.timestamp, event.received_at, event.id, f"{{{tokens}}}")
