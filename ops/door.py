"""The way in: whose key a request carries, whether it may come from there, and whether it comes too often (contract §1)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from ops.addresses import Proxies
from ops.auth import Authenticator, CachePolicy, Principal
from ops.clock import Clock
from ops.db import Pool
from ops.health import Notices
from ops.key_use import KeyUses
from ops.limits import Limits, Visit
from ops.metrics import Metrics
from ops.replicas import Replicas
from ops.settings import Settings
from ops.shared_limits import SharedLimits
from ops.store import PostgresKeys, PostgresProcesses
from schemas.problems import Forbidden, Problem, Unauthorized, Unavailable
from schemas.topics import Region

_AUTHORIZATION = b"authorization"


class _Part(Protocol):
    """What goes on in the background."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...


class Door:
    """Judges visits. A request without a good key counts against its address, before any database is asked; any other against its key."""

    def __init__(self, authenticator: Authenticator, limits: Limits, proxies: Proxies) -> None:
        self._authenticator = authenticator
        self._cached = authenticator.cached
        self._limits = limits
        self._client_address = proxies.client_address
        self.headers = limits.headers

    def visit(self, scope: Mapping[str, Any]) -> Visit:
        """A new visit, of which nothing but its address is known."""
        return Visit(self._client_address(scope))

    def known(self, header: bytes | None, visit: Visit) -> Principal | None:
        """The caller, when judging takes no wait; else ``None``, and ``ask`` has to be called. Raises ``RateLimited``."""
        caller = self._cached(header, visit.address)
        if caller is not None:
            self._limits.request(visit, caller)
        return caller

    async def ask(self, header: bytes | None, visit: Visit) -> Principal:
        """The caller. Raises ``Unauthorized``, ``Forbidden``, ``RateLimited``, ``Unavailable``."""
        limits = self._limits
        limits.watch_stranger(visit)
        # A key that was good before is never refused for what others at its address do.
        met_before = self._authenticator.met_before(header)
        if not met_before:
            limits.take_stranger(visit)
        try:
            caller = await self._authenticator.authenticate(header, visit.address)
        except (Unauthorized, Forbidden):
            if met_before:
                limits.take_stranger(visit)
            raise
        except Unavailable:
            if not met_before:
                limits.forgive_stranger(visit)
            raise
        if not met_before:
            limits.forgive_stranger(visit)
        limits.request(visit, caller)
        return caller

    async def enter(self, scope: Mapping[str, Any]) -> tuple[Visit, Problem | None]:
        """The visit, with its caller or with why there is none."""
        visit = self.visit(scope)
        header = next((value for name, value in scope["headers"] if name == _AUTHORIZATION), None)
        try:
            if self.known(header, visit) is None:
                await self.ask(header, visit)
        except Problem as problem:
            return visit, problem
        return visit, None


@dataclass(frozen=True, slots=True)
class Entrance:
    """The door with its limits, and what an operator should know of them."""

    door: Door
    limits: Limits
    notices: Notices


def open_entrance(
    settings: Settings, pools: Mapping[Region, Pool], policy: CachePolicy, *, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> Entrance:
    """A process's entrance, until the stack is closed. ``pools`` are the regions' databases, which know the keys."""
    keys = PostgresKeys(pools)
    authenticator = Authenticator(keys, settings.secrets("api_key_secret"), clock=clock, metrics=metrics, policy=policy)
    stack.push_async_callback(authenticator.close)
    limits = Limits(settings.ip_requests_per_minute, clock=clock, metrics=metrics)
    shared: SharedLimits | None = None
    if settings.rate_limit_store_url is not None:
        shared = SharedLimits(settings.rate_limit_store_url.get_secret_value(), limits.tables, clock=clock, metrics=metrics)
    replicas = Replicas(PostgresProcesses(pools), shared)
    parts: list[_Part | None] = [KeyUses(authenticator, keys, clock), replicas, shared]
    for part in parts:
        if part is not None:
            part.start()
            stack.push_async_callback(part.stop)
    return Entrance(Door(authenticator, limits, Proxies(settings.trusted_proxies)), limits, replicas.notices)
