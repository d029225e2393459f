"""Where events are that have left the database, as an export needs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ops.db import Row
from schemas.event import StoredEvent


class Archive(Protocol):
    """Reads archives. To be used in threads."""

    def events(self, part: Row, workspace_id: str, from_seq: int, to_seq: int) -> Iterator[list[StoredEvent]]:
        """A workspace's events of a part, in order, some at a time."""
        ...


class NoArchive:
    """Placeholder."""

    def events(self, part: Row, workspace_id: str, from_seq: int, to_seq: int) -> Iterator[list[StoredEvent]]:
        """None."""
        raise NotImplementedError
