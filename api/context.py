"""What a request handler is given: the caller, and the parts that the app was built of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.cursor import Cursors
from api.store import Store
from ops.auth import Authenticator, Principal

_KEY = HTTPBearer(scheme_name="API key", description="`Authorization: Bearer hlk_…`, a workspace's or a company's key.", auto_error=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the lifespan opened. Lives in its state, under ``parts``."""

    store: Store
    cursors: Cursors
    authenticator: Authenticator


def _parts(request: Request) -> Parts:
    parts: Parts = request.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]


async def _caller(request: Request, parts: PartsOf, _documented: Annotated[object, Depends(_KEY)]) -> Principal:
    header = request.headers.get("authorization")
    raw = None if header is None else header.encode("latin-1")
    return parts.authenticator.cached(raw) or await parts.authenticator.authenticate(raw)


Caller = Annotated[Principal, Depends(_caller)]
