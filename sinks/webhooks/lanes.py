"""Whose delivery goes next: pure, so that its fairness can be tested.

Each endpoint has a lane: deliveries that wait, in order, and how many may be under way at a time. Lanes take turns, one delivery a turn;
those that fail or are slow go one at a time and have half of all requests at most. The last quarter of all requests is for the first ones
of lanes that are well, so that many that begin to hang at once leave room. So an endpoint costs the others nothing, however many
deliveries it has and however long it keeps each.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from sinks.webhooks.model import Delivery

_MAX_DEPTH = 2000
"""Deliveries that wait in one lane: two batches of the sink's."""
_MAX_WAITING = 20_000
_UNKNOWN_DEPTH, _SUSPECT_DEPTH = 128, 4
_SLOW_SECONDS = 2.0
_MAX_LANES = 10_000
_WEIGHT = 0.2
"""Of a request's time in the lane's moving average."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one region's lanes."""

    concurrency: int
    """Requests under way to one endpoint."""
    in_flight: int
    """Requests under way to all of them."""
    window: float
    """A delivery begins within so many seconds of its claim, or is given back."""
    max_bytes: int = 64 << 20
    """Of the events that are held; passed by what was on its way in."""


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[Delivery] = field(default_factory=deque)
    under_way: int = 0
    limit: int = 1
    """Of those under way: one more with each success, one again after a failure."""
    failing: bool = False
    seconds: float | None = None
    """A request's time, a moving average."""
    row: _Row | None = None
    """Where it stands while it can go."""

    @property
    def suspect(self) -> bool:
        return self.failing or (self.seconds or 0.0) > _SLOW_SECONDS

    @property
    def can_go(self) -> bool:
        return bool(self.waiting) and self.under_way < (1 if self.suspect else self.limit)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.under_way


_Row = OrderedDict[_Lane, None]


class Lanes:
    """All lanes of one region."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lanes: dict[str, _Lane] = {}
        self._idle: _Row = OrderedDict()
        self._busy: _Row = OrderedDict()
        self._suspect: _Row = OrderedDict()
        self._is_suspects_turn = False
        self._suspects_under_way = 0
        self.under_way = 0
        self.waiting = 0
        self.held_bytes = 0

    @property
    def failing(self) -> int:
        """How many lanes fail, as far as this process knows."""
        return sum(lane.failing for lane in self._lanes.values())

    def room(self, webhook_id: str) -> int:
        """How many more deliveries the lane takes: no more than it can begin in half of their window."""
        if self.held_bytes >= self._bounds.max_bytes or self.waiting >= _MAX_WAITING:
            return 0
        lane = self._lanes.get(webhook_id)
        return _UNKNOWN_DEPTH if lane is None else max(0, self._depth(lane) - len(lane.waiting))

    def is_low(self, webhook_id: str) -> bool:
        """Whether the lane has room for as many as wait in it, so that it is worth while to fetch more."""
        lane = self._lanes.get(webhook_id)
        return lane is None or len(lane.waiting) * 2 <= self._depth(lane)

    def _depth(self, lane: _Lane) -> int:
        if lane.suspect:
            return _SUSPECT_DEPTH
        if lane.seconds is None:
            return _UNKNOWN_DEPTH
        return min(_MAX_DEPTH, max(lane.limit, round(lane.limit * self._bounds.window / 2 / max(lane.seconds, 1e-4))))

    def put(self, delivery: Delivery) -> None:
        """A delivery that was claimed, behind those of its endpoint."""
        lane = self._lane(delivery.webhook_id)
        lane.waiting.append(delivery)
        self.waiting += 1
        self.held_bytes += delivery.size
        self._stand(lane)

    def next(self) -> Delivery | None:
        """The delivery to begin now, which is under way from here on; ``None`` while none may begin."""
        lane = self._next_lane()
        if lane is None:
            return None
        delivery = lane.waiting.popleft()
        self._count(lane, 1)
        self.waiting -= 1
        self._stand(lane)
        return delivery

    def ended(self, delivery: Delivery, *, seconds: float | None, succeeded: bool | None) -> None:
        """It is no longer under way; ``None`` for what says nothing of its endpoint."""
        lane = self._lane(delivery.webhook_id)
        self.held_bytes -= delivery.size
        self._count(lane, -1)
        was_suspect = lane.suspect
        if seconds is not None:
            lane.seconds = seconds if lane.seconds is None else lane.seconds + _WEIGHT * (seconds - lane.seconds)
        if succeeded is not None:
            lane.failing = not succeeded
            lane.limit = min(self._bounds.concurrency, lane.limit + 1) if succeeded else 1
        self._recount(lane, was_suspect)
        self._stand(lane)

    def know(self, webhook_id: str, *, failing: bool) -> None:
        """What the endpoint's row says of it; counts for a lane that has tried nothing yet."""
        if failing and webhook_id not in self._lanes:
            self._lane(webhook_id).failing = True

    def is_late(self, delivery: Delivery, now: float) -> bool:
        """Whether it did not begin within its window: its lease may run out before it ends."""
        return delivery.claimed_at < now - self._bounds.window

    def late(self, now: float) -> list[Delivery]:
        """Those that did not begin within their window: out of their lanes, to be given back."""
        found: list[Delivery] = []
        for lane in self._lanes.values():
            while lane.waiting and self.is_late(lane.waiting[0], now):
                found.append(self._drop(lane))
        return found

    def take_out(self, webhook_ids: Iterable[str] | None = None) -> list[Delivery]:
        """All that wait in these lanes, or in any."""
        lanes = self._lanes.values() if webhook_ids is None else [self._lanes[each] for each in webhook_ids if each in self._lanes]
        return [self._drop(lane) for lane in lanes for _ in range(len(lane.waiting))]

    def has(self, webhook_id: str) -> bool:
        """Whether it remembers anything of the endpoint."""
        return webhook_id in self._lanes

    def forget_idle(self) -> None:
        """Bound what is remembered of endpoints that have nothing to be sent."""
        if len(self._lanes) > _MAX_LANES:
            self._lanes = {webhook_id: lane for webhook_id, lane in self._lanes.items() if not lane.is_idle}

    def _lane(self, webhook_id: str) -> _Lane:
        lane = self._lanes.get(webhook_id)
        if lane is None:
            lane = self._lanes[webhook_id] = _Lane()
        return lane

    def _drop(self, lane: _Lane) -> Delivery:
        delivery = lane.waiting.popleft()
        self.waiting -= 1
        self.held_bytes -= delivery.size
        self._stand(lane)
        return delivery

    def _next_lane(self) -> _Lane | None:
        if self.under_way >= self._bounds.in_flight:
            return None
        self._is_suspects_turn = not self._is_suspects_turn
        if self._is_suspects_turn:
            return self._pop_suspect() or self._pop_good()
        return self._pop_good() or self._pop_suspect()

    def _pop_good(self) -> _Lane | None:
        return self._pop(self._idle) or (self._pop(self._busy) if self._has_spare else None)

    def _pop_suspect(self) -> _Lane | None:
        has_share = self._suspects_under_way < self._bounds.in_flight // 2
        return self._pop(self._suspect) if has_share and self._has_spare else None

    @property
    def _has_spare(self) -> bool:
        """Whether more than what is kept for first requests is left."""
        return self.under_way < self._bounds.in_flight - self._bounds.in_flight // 4

    @staticmethod
    def _pop(row: _Row) -> _Lane | None:
        if not row:
            return None
        lane, _ = row.popitem(last=False)
        lane.row = None
        return lane

    def _stand(self, lane: _Lane) -> None:
        """In the row that is its own as it is now; whoever changes a lane calls this."""
        row = self._row_of(lane) if lane.can_go else None
        if row is lane.row:
            return
        if lane.row is not None:
            del lane.row[lane]
        if row is not None:
            row[lane] = None
        lane.row = row

    def _row_of(self, lane: _Lane) -> _Row:
        if lane.suspect:
            return self._suspect
        return self._busy if lane.under_way else self._idle

    def _count(self, lane: _Lane, change: int) -> None:
        lane.under_way += change
        self.under_way += change
        if lane.suspect:
            self._suspects_under_way += change

    def _recount(self, lane: _Lane, was_suspect: bool) -> None:
        if lane.suspect is not was_suspect:
            self._suspects_under_way += lane.under_way if lane.suspect else -lane.under_way
