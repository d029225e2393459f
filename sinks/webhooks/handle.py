"""From an event to what the webhook sink keeps of it: itself, since who is to be told is only known in the transaction."""

from __future__ import annotations

from schemas.event import StoredEvent


def handle(event: StoredEvent) -> StoredEvent:
    """The event as it is."""
    return event
