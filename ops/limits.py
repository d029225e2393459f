"""Rate limits: how often a key, a company's producers, a user of the dashboard and an address without a good key may ask in a minute
(contract §2).

Windows are whole minutes of UTC. Within a process we count ourselves: the ``limits`` library takes 2.4 µs a count and 2.7 µs more
to tell what is left, and a single POST has two limits; a ``Counter`` takes 0.2 µs. Replicas add up in a shared store, behind the
requests (ops/shared_limits.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag, auto
from math import ceil
from typing import NoReturn

from ops.addresses import holder
from ops.auth import Principal
from ops.clock import Clock
from ops.metrics import Metrics
from schemas.event import format_time
from schemas.problems import RateLimited

RateHeaders = list[tuple[bytes, bytes]]

# Numbers as always, so that clients need not treat those apart who have no limit.
NO_LIMIT = 1_000_000_000
"""``X-RateLimit-Limit`` and ``-Remaining`` where nothing limits the caller."""
MINUTE_MICROS = 60_000_000
_MAX_HOLDERS = 100_000


class Badge(Flag):
    """The parts of the dashboard that a token opens."""

    NONE = 0
    COMPANIES = auto()
    ADMIN = auto()


class Counter:
    """What one holder of a limit used of it in a minute: here, and as far as is known in other processes."""

    __slots__ = ("elsewhere", "limit", "minute", "told", "used")

    def __init__(self, minute: int) -> None:
        self.limit = NO_LIMIT
        self.begin(minute)

    def begin(self, minute: int) -> None:
        """Count from nothing."""
        self.minute = minute
        self.used = 0
        self.told = 0
        """How much of ``used`` the shared store has."""
        self.elsewhere = 0

    @property
    def left(self) -> int:
        """How much may still be used; never below 0."""
        return max(0, self.limit - self.used - self.elsewhere)


class Table:
    """The counters of one kind of limit, by holder. Bounded: beyond its size the oldest ones are forgotten."""

    def __init__(self, name: str, size: int = _MAX_HOLDERS) -> None:
        self.name = name
        self._size = size
        self._counters: dict[str, Counter] = {}
        self._swept = 0

    def of(self, holder: str, limit: int, minute: int) -> Counter:
        """The holder's counter of that minute."""
        counter = self._counters.get(holder)
        if counter is None:
            counter = self._add(holder, minute)
        elif counter.minute != minute:
            counter.begin(minute)
        counter.limit = limit
        return counter

    def untold(self, minute: int) -> Iterator[tuple[str, Counter]]:
        """The holders of whose use in that minute the shared store does not know all."""
        for name, counter in self._counters.items():
            if counter.minute == minute and counter.used > counter.told:
                yield name, counter

    def _add(self, holder: str, minute: int) -> Counter:
        if len(self._counters) >= self._size:
            self._make_room(minute)
        self._counters[holder] = counter = Counter(minute)
        return counter

    def _make_room(self, minute: int) -> None:
        if self._swept != minute:
            self._swept = minute
            self._counters = {name: counter for name, counter in self._counters.items() if counter.minute == minute}
        if len(self._counters) >= self._size:
            del self._counters[next(iter(self._counters))]


class Visit:
    """One request: from where, by whom, and the counters of the limits that hold for it (``None``: no limit)."""

    __slots__ = ("address", "badge", "caller", "events", "minute", "requests", "taken")

    def __init__(self, address: str) -> None:
        self.address = address
        self.caller: Principal | None = None
        self.minute = 0
        self.requests: Counter | None = None
        self.events: Counter | None = None
        self.taken = 0
        """Events counted for it."""
        self.badge = Badge.NONE
        """Where the dashboard's token that it carries is good."""

    def watch_operations(self, used: int, limit: int, minute: int) -> None:
        """Make the management operations of its company, which Postgres counts, a part of what the answer tells.

        They stand where a producer's events do: no request has both.
        """
        self.events = counter = Counter(minute)
        counter.limit, counter.used = limit, used


class Limits:
    """Counts visits, and refuses those that are too many. One a process and service."""

    def __init__(self, ip_requests_per_minute: int, *, clock: Clock, metrics: Metrics) -> None:
        """``ip_requests_per_minute`` 0: addresses have no limit."""
        self._per_address = ip_requests_per_minute
        self._micros = clock.micros
        self._refused = {name: metrics.rate_limited.labels(name).inc for name in ("key", "events", "address", "user")}
        self._keys, self._companies, self._addresses, self._users = Table("key"), Table("events"), Table("address"), Table("user")
        self._reset = (-1, (b"", b""))

    @property
    def tables(self) -> tuple[Table, ...]:
        """All counters, to be added up with other processes'."""
        return self._keys, self._companies, self._addresses, self._users

    def request(self, visit: Visit, caller: Principal) -> None:
        """Count a request of a good key. Raises ``RateLimited``."""
        visit.caller = caller
        visit.minute = minute = self._micros() // MINUTE_MICROS
        limit = caller.limits.requests_per_minute
        if limit is None:
            visit.requests = None
            return
        visit.requests = counter = self._keys.of(caller.key_id, limit, minute)
        if counter.used + counter.elsewhere >= limit:
            self._refuse("key", f"This key may make {limit:,} requests a minute.")
        counter.used += 1

    def request_of_user(self, visit: Visit, user: str, limit: int) -> None:
        """Count a request of a user of the dashboard, for one company; ``limit`` 0: none. Raises ``RateLimited``."""
        visit.minute = minute = self._micros() // MINUTE_MICROS
        visit.requests = counter = self._users.of(user, limit, minute) if limit else None
        if counter is None:
            return
        if not counter.left:
            self._refuse("user", f"A user may make {limit:,} requests a minute for one company.")
        counter.used += 1

    def watch_events(self, visit: Visit, caller: Principal) -> None:
        """Make the events that the company may still send a part of what the answer tells; after ``request``."""
        limit = caller.limits.events_per_minute
        if limit is not None:
            visit.events = self._companies.of(caller.company_id, limit, visit.minute)

    def take_events(self, visit: Visit, count: int) -> None:
        """Count the events of a watched request, all or none. Raises ``RateLimited``."""
        counter = visit.events
        if counter is None:
            return
        used = counter.used + count
        if used + counter.elsewhere > counter.limit:
            self._refuse("events", f"This company may send {counter.limit:,} events a minute.")
        counter.used = used
        visit.taken = count

    def return_events(self, visit: Visit) -> None:
        """Take back what was counted for a request of which nothing was accepted; a minute that is over keeps it."""
        counter = visit.events
        if counter is not None and counter.minute == visit.minute:
            counter.used -= min(counter.used, visit.taken)
        visit.taken = 0

    def watch_stranger(self, visit: Visit) -> None:
        """Make the requests without a good key that the address may still make what the answer tells."""
        if self._per_address:
            visit.requests = self._addresses.of(holder(visit.address), self._per_address, self._micros() // MINUTE_MICROS)

    def take_stranger(self, visit: Visit) -> None:
        """Count a watched request without a good key. Raises ``RateLimited``."""
        counter = visit.requests
        if counter is None:
            return
        if not counter.left:
            self._refuse("address", f"An address may make {counter.limit:,} requests a minute without a valid API key.")
        counter.used += 1

    def forgive_stranger(self, visit: Visit) -> None:
        """Take a counted one back: its key turned out good."""
        if visit.requests is not None and visit.requests.used:
            visit.requests.used -= 1

    def headers(self, visit: Visit) -> RateHeaders:
        """``X-RateLimit-*`` of the limit with the least left."""
        limit = left = NO_LIMIT
        for counter in (visit.requests, visit.events):
            if counter is not None:
                rest = counter.limit - counter.used - counter.elsewhere  # not ``left``: a property costs 0.2 µs
                if rest < left:
                    limit, left = counter.limit, rest
        return [(b"x-ratelimit-limit", b"%d" % limit), (b"x-ratelimit-remaining", b"%d" % max(0, left)), self._reset_header()]

    def _reset_header(self) -> tuple[bytes, bytes]:
        """When the minute ends. Written once a minute: writing a time costs 1 µs."""
        minute = self._micros() // MINUTE_MICROS
        if self._reset[0] != minute:
            self._reset = (minute, (b"x-ratelimit-reset", format_time((minute + 1) * MINUTE_MICROS).encode()))
        return self._reset[1]

    def _refuse(self, limit: str, sentence: str) -> NoReturn:
        self._refused[limit]()
        left = MINUTE_MICROS - self._micros() % MINUTE_MICROS
        raise RateLimited(sentence, retry_after=ceil(left / 1e6))
