"""Building the entrance of a process that serves requests: its door, its limits, and what goes on behind them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from ops.addresses import Proxies
from ops.auth import Authenticator, CachePolicy
from ops.clock import Clock
from ops.db import Pool
from ops.door import Door
from ops.key_use import KeyUses
from ops.limits import Limits
from ops.metrics import Metrics
from ops.replicas import Notices, Replicas
from ops.settings import Settings
from ops.shared_limits import SharedLimits
from ops.store import PostgresKeys, PostgresProcesses
from schemas.topics import Region


class _Part(Protocol):
    """What goes on in the background."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...


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
