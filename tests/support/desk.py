"""The dashboard's service as tests play it: it vouches for whom it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from api.app import create_app
from ops.settings import Settings
from tests.support.serving import served

NOBODYS = "0190163d-8694-739b-aea5-966c26f8ad90"
"""An id of nothing that there is."""
NOWHERE = "postgresql://api_local:none@127.0.0.1:9/hyrelog"
"""A database that does not answer."""


@dataclass(frozen=True)
class Desk:
    """The dashboard's service, which vouches for whom it likes."""

    client: httpx.AsyncClient
    token: str

    async def ask(self, method: str, path: str, body: Any = None, *, company: UUID | str | None = None, **sent: str) -> httpx.Response:
        """A request of an admin of the company, or without one of an operator."""
        headers = {
            "x-dashboard-token": self.token,
            "x-user-id": "usr-7",
            "x-user-email": "grace@dashboard.example",
            "x-user-role": "HYRELOG_ADMIN" if company is None else "ADMIN",
            **({} if company is None else {"x-company-id": str(company)}),
            **{f"x-{name.replace('_', '-')}": value for name, value in sent.items()},
        }
        json = {} if body is None else {"json": body}
        return await self.client.request(method, f"/dashboard{path}", headers=headers, timeout=15, **json)

    async def told(self, method: str, path: str, body: Any = None, *, status: int = 200, **sent: Any) -> Any:
        """The JSON of an answer with that status."""
        answer = await self.ask(method, path, body, **sent)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def pages(self, path: str, limit: int = 2) -> list[Any]:
        """All rows of an operator's list, page by page."""
        rows: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.told("GET", f"{path}&limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
            assert page["unavailableRegions"] == []
            rows += page["data"]
            cursor = page["nextCursor"]
        return rows


@asynccontextmanager
async def desk_of(settings: Settings) -> AsyncIterator[Desk]:
    token = settings.dashboard_service_token
    assert token is not None
    async with served(create_app(settings)) as client:
        yield Desk(client, token.get_secret_value())
