"""Routes whose every use is audited: actions write their own entry, refusals get theirs here (contract §8)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from api import parameters
from api.attempt import Attempt, attempt, kind_of, target_of
from api.context import Caller, Parts, PartsOf
from api.management import check_manager
from ops.auth import LapsedKey, Principal, WrongAddress
from schemas.problems import InternalError, Problem

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CompanyRoute(APIRoute):
    """A route for company keys alone."""


class AuditedRoute(APIRoute):
    """A route that does something. Its name is the audit's ``action``.

    What the limit of a key or an address turns away never comes here: that limit also bounds what can be written.
    """

    def get_route_handler(self) -> Handler:
        """The handler, which writes down what it refuses before it says so."""
        handle = super().get_route_handler()
        kind = kind_of(self.path)

        async def audited(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                if problem.status < InternalError.code.status:
                    parts: Parts = request.state.parts
                    await parts.management.refuse(attempt_of(request, parts), target_of(request, kind), problem)
                raise

        return audited


class ManagingRoute(AuditedRoute, CompanyRoute):
    """A route by which a company's key manages something."""


def attempt_of(request: Request, parts: PartsOf) -> Attempt:
    """The attempt that a request is, by what is known of its caller so far."""
    problem = request.state.problem
    caller: Principal | None = problem.holder if isinstance(problem, LapsedKey | WrongAddress) else request.state.visit.caller
    return attempt(request, request.scope["route"].name, caller, address=request.state.client_address, regions=parts.regions)


async def _manager(request: Request, caller: Caller, parts: PartsOf) -> Principal:
    if caller.user is None:  # whom the dashboard lets in, its own route has judged
        await parts.management.admit(caller, request.state.visit)
    parameters.none(request)
    return caller


def _overseer(caller: Caller) -> Principal:
    if caller.user is None:
        check_manager(caller)
    return caller


AttemptOf = Annotated[Attempt, Depends(attempt_of)]
Manager = Annotated[Principal, Depends(_manager)]
"""A caller who may manage; counted."""
Overseer = Annotated[Principal, Depends(_overseer)]
"""A caller who may manage, and only looks: not counted."""
