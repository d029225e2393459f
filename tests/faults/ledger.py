"""What a client knows of its requests: written down before each is sent and after each has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended, as far as its client can tell."""

    SENT = "sent"
    """Not yet, or the client itself was stopped: as good as unknown."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Request:
    """One POST. Each event of it carries one of ``markers`` in its metadata, and one of ``keys`` if there are any."""

    workspace_id: str
    markers: tuple[str, ...]
    keys: tuple[str, ...] = ()
    outcome: Outcome = Outcome.SENT
    ids: tuple[str, ...] = ()
    """In the order of the markers, once accepted."""
    answer: str = ""
    """Status, or what went wrong."""
    problem: str | None = None
    seconds: float = 0.0
    retry_after: str | None = None


@dataclass(slots=True)
class Ledger:
    """All requests of a run."""

    name: str
    """Begins every marker."""
    requests: list[Request] = field(default_factory=list)
    _markers: int = 0

    def sent(self, workspace_id: str, events: int, *, is_keyed: bool = False) -> Request:
        """Write down a request about to be sent, with fresh markers, and with idempotency keys named after them."""
        markers = self._fresh(events)
        return self._noted(Request(workspace_id, markers, markers if is_keyed else ()))

    def again(self, request: Request) -> Request:
        """Write down that the same events are about to be sent under the same keys once more."""
        return self._noted(Request(request.workspace_id, request.markers, request.keys))

    def rival(self, request: Request) -> Request:
        """Write down that other events are about to be sent under the keys of that request."""
        return self._noted(Request(request.workspace_id, self._fresh(len(request.markers)), request.keys))

    def _fresh(self, events: int) -> tuple[str, ...]:
        first = self._markers
        self._markers += events
        return tuple(f"{self.name}-{number}" for number in range(first, self._markers))

    def _noted(self, request: Request) -> Request:
        self.requests.append(request)
        return request

    def of(self, outcome: Outcome) -> Iterator[Request]:
        """The requests that ended so."""
        return (request for request in self.requests if request.outcome is outcome)

    def events(self) -> Counter[Outcome]:
        """Events by how their request ended."""
        counts: Counter[Outcome] = Counter()
        for request in self.requests:
            counts[request.outcome] += len(request.markers)
        return counts

    def answers(self) -> Counter[str]:
        """Requests by status or error."""
        return Counter(request.answer for request in self.requests)
