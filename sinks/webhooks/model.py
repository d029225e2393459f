"""What dispatchers work with: endpoints, deliveries, and how an attempt ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from schemas.event import StoredEvent
from schemas.webhooks import EVENT_TYPES, Failure, Filters, Kind, State

MAX_ATTEMPTS = 20
"""Of one delivery, those included that its dispatchers did not survive."""
_EVENT_BYTES = 1024


class Disabled(StrEnum):
    """Why the service disables an endpoint by itself."""

    GONE = "GONE"
    FAILING = "FAILING"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom to tell, as last read."""

    id: str
    company_id: str
    workspace_id: str
    project_id: str | None
    url: str
    events: tuple[str, ...]
    filters: Filters
    from_seq: int
    enabled: bool
    deleted: bool
    failing: bool
    secret: bytes
    """Sealed for the id."""
    previous_secret: bytes | None
    """The same; only while the overlap of a rotation lasts."""

    def wants(self, event: StoredEvent) -> bool:
        """Whether it is to be told of the event."""
        is_its_own = self.project_id is None or self.project_id == event.project_id
        return is_its_own and EVENT_TYPES[0] in self.events and self.filters.matches(event)

    def takes(self, kind: Kind) -> bool:
        """Whether deliveries of that kind are still made to it: tests may be tried on a disabled one."""
        return not self.deleted and (self.enabled or kind is Kind.TEST)


@dataclass(slots=True, eq=False)
class Delivery:
    """A row of ``webhook_due`` that this process has claimed. ``claimed_at`` is monotonic, from before the claim."""

    webhook_id: str
    id: str
    kind: Kind
    attempt: int
    failures: int
    event: StoredEvent | None
    """``None``: of a test, or it is no longer stored."""
    claimed_at: float

    @property
    def size(self) -> int:
        """About how much memory it holds, in bytes."""
        if self.event is None:
            return _EVENT_BYTES
        groups = (self.event.actor, self.event.resource, self.event.context, self.event.metadata)
        return _EVENT_BYTES + sum(len(group.sealed) for group in groups if group is not None and group.sealed is not None)


class Result(NamedTuple):
    """How an attempt ended. Moments are monotonic."""

    delivery: Delivery
    state: State
    began: float
    ended: float
    failures: int
    pause: float | None = None
    """Seconds from its end to the next one; ``None``: there is none."""
    sent: bool = True
    status: int | None = None
    error: Failure | None = None
    body_hash: bytes | None = None
    endpoint: Endpoint | None = None
    """Whom it was sent to, as it was then; ``None`` where that says nothing of it."""
