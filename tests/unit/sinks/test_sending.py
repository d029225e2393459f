"""What a process has in hand begins while its lease lasts, or is anybody's again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ops.faults import FaultPoints
from schemas.webhooks import Filters, Kind, State
from sinks.webhooks.attempt import Sender
from sinks.webhooks.lanes import Bounds, Lanes
from sinks.webhooks.model import Delivery, Endpoint, Result
from sinks.webhooks.results import Results
from sinks.webhooks.sending import Sending
from tests.support.keys import FakeClock

HOOK = Endpoint("hook", "company", "workspace", None, "https://a.example", (), Filters(), 1, True, False, False, b"", None)
BOUNDS = Bounds(concurrency=4, in_flight=10, window=1.5)


class Answering:
    """A sender whose requests succeed at once."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def attempt(self, _endpoint: Endpoint, delivery: Delivery) -> Result:
        self.made.append(delivery.id)
        return Result(delivery, State.SUCCEEDED, 0.0, 0.0, 0, status=200)


class Outage:
    """Results that can't be written until they can."""

    def __init__(self) -> None:
        self.in_trouble = True
        self.ended: list[Result] = []
        self.returned: list[str] = []
        self.known: list[tuple[str, bool]] = []

    def put(self, result: Result) -> None:
        self.ended.append(result)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        self.returned += [each.id for each in deliveries]

    def know(self, webhook_id: str, *, failing: bool) -> None:
        self.known.append((webhook_id, failing))


def _sending(sender: Answering, results: Outage, clock: FakeClock) -> Sending:
    sending = Sending(Lanes(BOUNDS), cast(Sender, sender), cast(Results, results), clock, FaultPoints(None))
    sending.is_open = True
    return sending


async def test_after_an_outage_nothing_begins_whose_lease_may_have_run_out() -> None:
    """Another dispatcher may have it by now: it would come twice, and its result could not be recorded."""
    clock, sender, results = FakeClock(), Answering(), Outage()
    sending = _sending(sender, results, clock)
    sending.know(HOOK)
    began = clock.monotonic()
    sending.put([Delivery(HOOK.id, f"00000{number}", Kind.TEST, 1, 0, None, began) for number in range(3)])
    clock.now += BOUNDS.window + 0.1
    sending.put([Delivery(HOOK.id, "fffff0", Kind.TEST, 1, 0, None, clock.monotonic())])
    results.in_trouble = False
    sending.go()
    await sending.close(grace=1.0)
    assert sender.made == ["fffff0"]
    assert sorted(results.returned) == ["000000", "000001", "000002"]
    assert (sending.lanes.under_way, sending.lanes.waiting, sending.lanes.held_bytes) == (0, 0, 0)


async def test_whether_an_endpoint_fails_is_taken_from_each_read() -> None:
    """Read the same twice, it may have changed and changed back meanwhile: by this process, and by another."""
    results = Outage()
    sending = _sending(Answering(), results, FakeClock())
    for _ in range(2):
        sending.know(HOOK)
    assert results.known == [(HOOK.id, False)] * 2
