"""The way in: whose key a request carries, whether it may come from there, and whether it comes too often (contract §1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.addresses import Proxies
from ops.auth import Authenticator, Principal
from ops.limits import Limits, Visit
from schemas.problems import Forbidden, Problem, Unauthorized

_AUTHORIZATION = b"authorization"


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
        # What could not be judged stays counted: a slow database needs the limit most.
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
