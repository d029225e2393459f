"""The way in to ``/dashboard/*``: a service that vouches for its users by a token (contract §2, Management)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Self

from ops.addresses import Proxies
from ops.door import Door
from ops.limits import Badge, Limits, Visit
from ops.settings import Settings
from schemas.ids import is_uuid
from schemas.problems import Problem, Unauthorized

NOT_THE_DASHBOARD = "A valid x-dashboard-token is required."
PREFIX = "/dashboard/"
ADMIN_PREFIX = "/dashboard/admin/"
_TOKEN = b"x-dashboard-token"
_COMPANY_ID, _USER_ID = b"x-company-id", b"x-user-id"
_MAX_HOLDER_BYTES = 512


class DashboardDoor:
    """Judges visits to the dashboard's routes. One without a good token counts against its address, any other against its user."""

    def __init__(self, service: tuple[bytes, ...], admin: tuple[bytes, ...], limits: Limits, proxies: Proxies, per_minute: int) -> None:
        """``service`` and ``admin`` are tokens, those that are being rotated out included; without ``admin``, ``service`` opens all."""
        opened = Badge.COMPANIES if admin else Badge.COMPANIES | Badge.ADMIN
        self._tokens = [*((token, opened) for token in service), *((token, Badge.ADMIN) for token in admin)]
        self._limits = limits
        self._client_address = proxies.client_address
        self._per_minute = per_minute

    @classmethod
    def of(cls, settings: Settings, limits: Limits) -> Self:
        """As the settings say."""
        service, admin = (settings.secrets(name) for name in ("dashboard_service_token", "dashboard_admin_token"))
        return cls(service, admin, limits, Proxies(settings.trusted_proxies), settings.dashboard_requests_per_minute)

    def enter(self, scope: Mapping[str, Any]) -> tuple[Visit, Problem | None]:
        """The visit with its badge, or with why it may not go on."""
        visit = Visit(self._client_address(scope))
        tokens = [value for name, value in scope["headers"] if name == _TOKEN]
        visit.badge = self._badge(tokens[0]) if len(tokens) == 1 else Badge.NONE
        try:
            if visit.badge is Badge.NONE:
                self._limits.watch_stranger(visit)
                self._limits.take_stranger(visit)
                raise Unauthorized(NOT_THE_DASHBOARD)
            self._limits.request_of_user(visit, _holder(scope), self._per_minute)
        except Problem as problem:
            return visit, problem
        return visit, None

    def _badge(self, given: bytes) -> Badge:
        """Each token is compared, so that the time tells nothing of which one was met."""
        badge = Badge.NONE
        for token, opened in self._tokens:
            if hmac.compare_digest(given, token):
                badge |= opened
        return badge


def _holder(scope: Mapping[str, Any]) -> str:
    """Who makes a request, and for which company. What can be none makes no limit of its own."""
    headers = dict(scope["headers"])
    company = headers.get(_COMPANY_ID, b"").decode("latin-1")
    if scope["path"].startswith(ADMIN_PREFIX) or not is_uuid(company):
        company = ""
    return f"{company}/{headers.get(_USER_ID, b'')[:_MAX_HOLDER_BYTES].decode('latin-1')}"


class Doors:
    """The API's two ways in: by an API key, and by the dashboard's token."""

    def __init__(self, keys: Door, dashboard: DashboardDoor) -> None:
        self._keys = keys
        self._dashboard = dashboard
        self.headers = keys.headers

    async def enter(self, scope: Mapping[str, Any]) -> tuple[Visit, Problem | None]:
        """The visit, with its caller or badge, or with why there is none."""
        if scope["path"].startswith(PREFIX):
            return self._dashboard.enter(scope)
        return await self._keys.enter(scope)
