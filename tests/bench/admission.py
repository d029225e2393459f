"""What authentication and limits cost a single POST: ingest's own parts, in this process, a call after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from time import process_time
from typing import Any

from prometheus_client import CollectorRegistry

from ops.addresses import Proxies, network
from ops.auth import Authenticator, CachePolicy, Principal
from ops.clock import SystemClock
from ops.limits import Limits, Visit
from ops.metrics import Metrics
from schemas.keys import Scope, make_key
from schemas.topics import Region
from tests.support.keys import SECRET, FakeKeys, per_minute

_KEYS = 1_000
_SITES = 100
_PROXY = "10.0.0.1"
_OFFICE = "198.51.100.0/24"
_REQUESTS = 20_000
_REPEATS = 15
_NEVER = 3600.0
"""Seconds that no repeat takes: nothing is to be looked up again while it is measured."""
_MANY = 10**9
"""A minute's limit that no repeat reaches."""


@dataclass(frozen=True, slots=True)
class Admission:
    """CPU seconds a request, each the median of its repeats."""

    authentication: float
    limits: float

    @property
    def together(self) -> float:
        """What a single POST pays before its body is looked at, and for the headers of its answer."""
        return self.authentication + self.limits


@dataclass(frozen=True, slots=True)
class _Request:
    """What ingest has of one before it looks at its body."""

    scope: dict[str, Any]
    header: bytes


class Gatehouse:
    """Ingest's parts with a thousand keys in the cache, each with an allowlist and limits of its own, and behind a trusted proxy."""

    def __init__(self, keys: int = _KEYS, per_minute: int = _MANY) -> None:
        self._number, self._per_minute = keys, per_minute
        clock, metrics = SystemClock(), Metrics(CollectorRegistry())
        policy = CachePolicy(fresh=_NEVER, refresh_after=_NEVER)
        self._keys = FakeKeys()
        self._proxies = Proxies((network("10.0.0.0/8"),))
        self._authenticator = Authenticator(self._keys, (SECRET,), clock=clock, metrics=metrics, policy=policy)
        self._limits = Limits(0, clock=clock, metrics=metrics)
        self._requests: list[_Request] = []

    async def fill(self) -> None:
        """Let every key be looked up once."""
        for number in range(self._number):
            key = make_key(Region.EU, Scope.WORKSPACE, number.to_bytes(24))
            limits = per_minute(self._per_minute, self._per_minute)
            self._keys.add(key, id=f"key-{number}", company_id=f"company-{number}", limits=limits, allowlist=(network(_OFFICE),))
            request = _request(number, key)
            await self._authenticator.authenticate(request.header, self._proxies.client_address(request.scope))
            self._requests.append(request)

    def authenticate(self) -> float:
        """CPU seconds a request, from the connection and its headers to the caller."""
        client_address, cached = self._proxies.client_address, self._authenticator.cached
        requests = list(islice(cycle(self._requests), _REQUESTS))
        began = process_time()
        for request in requests:
            cached(request.header, client_address(request.scope))
        return (process_time() - began) / _REQUESTS

    def count(self) -> float:
        """CPU seconds a request, from the caller to the headers that tell what is left."""
        limits = self._limits
        callers = list(islice(cycle(self.callers), _REQUESTS))
        began = process_time()
        for caller in callers:
            visit = Visit("")
            limits.request(visit, caller)
            limits.watch_events(visit, caller)
            limits.take_events(visit, 1)
            limits.headers(visit)
        return (process_time() - began) / _REQUESTS

    @property
    def callers(self) -> list[Principal]:
        """Who the requests' keys belong to, of those that the cache knows."""
        client_address, cached = self._proxies.client_address, self._authenticator.cached
        found = (cached(request.header, client_address(request.scope)) for request in self._requests)
        return [caller for caller in found if caller is not None]


async def admission() -> Admission:
    """Measure both."""
    gatehouse = Gatehouse()
    await gatehouse.fill()
    return Admission(_middle(gatehouse.authenticate), _middle(gatehouse.count))


def _middle(measure: Callable[[], float]) -> float:
    return median(measure() for _ in range(_REPEATS))


def _request(number: int, key: str) -> _Request:
    headers = [
        (b"host", b"audit.example"),
        (b"user-agent", b"producer/1.0"),
        (b"authorization", b"Bearer " + key.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"512"),
        (b"x-forwarded-for", b"198.51.100.%d" % (number % _SITES)),
    ]
    return _Request({"client": (_PROXY, 40_000), "headers": headers}, headers[2][1])
