"""What a request handler is given: the caller, and the parts that the app was built of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.archived import Archived
from api.cursor import Cursors
from api.dashboard.admin.operator import Operator
from api.dashboard.directory import Directory
from api.dashboard.restoring import Restores
from api.dashboard.tenants import Tenants
from api.exports.actions import Exports
from api.exports.downloads import Downloads
from api.finder import Finder
from api.management import Management
from api.store import Store
from api.tail.tails import Tails
from api.webhooks.actions import Webhooks
from api.webhooks.deliveries import Deliveries
from api.webhooks.replays import Replays
from ops.auth import Principal
from schemas.problems import Problem
from schemas.topics import Region

_KEY = HTTPBearer(scheme_name="WorkspaceKey", auto_error=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the lifespan opened. Lives in its state, under ``parts``."""

    store: Store
    finder: Finder
    archived: Archived
    cursors: Cursors
    management: Management
    webhooks: Webhooks
    replays: Replays
    deliveries: Deliveries
    exports: Exports
    downloads: Downloads
    tails: Tails
    directory: Directory
    tenants: Tenants
    operator: Operator
    restores: Restores
    key_secrets: tuple[bytes, ...]
    """Under which keys are looked up."""
    regions: tuple[Region, ...]
    body_timeout: float
    """Seconds a request body may take to arrive."""


def _parts(request: Request) -> Parts:
    parts: Parts = request.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


async def _caller(request: Request, _documented: Annotated[object, Depends(_KEY)]) -> Principal:
    """Who calls, as the door judged it (``ops.web``); the address it was judged at is ``request.state.client_address``."""
    problem: Problem | None = request.state.problem
    if problem is not None:
        raise problem
    caller: Principal = request.state.visit.caller
    return caller


Caller = Annotated[Principal, Depends(_caller)]
