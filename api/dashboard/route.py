"""Routes of the dashboard: who may use them, and that every use is audited, reads too (contract §8)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.attempt import kind_of, target_of
from api.audited import attempt_of
from api.context import Parts
from api.dashboard.visitor import company_of, user_of
from ops import log
from ops.auth import Principal, User, UserRole
from ops.dashboard_door import NOT_THE_DASHBOARD
from ops.limits import Badge
from ops.web import problem_of
from schemas.keys import Scope
from schemas.problems import Forbidden, InternalError, Problem, Unauthorized, ValidationFailed

_LOG = log.get(__name__)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DashboardRoute(APIRoute):
    """A route of the dashboard. Its name is the audit's ``action``."""

    badge: ClassVar[Badge]
    """What the token must open."""
    roles: ClassVar[tuple[UserRole, ...]]
    """Who may use it."""
    is_read: ClassVar[bool]
    """Whether the route writes the entry of a success; else the action does, in its transaction."""

    def get_route_handler(self) -> Handler:
        """The handler, which lets nobody else in and tells nobody anything before it is written down."""
        handle = super().get_route_handler()
        kind = kind_of(self.path)

        async def audited(request: Request) -> Response:
            parts: Parts = request.state.parts
            try:
                await self._admit(request, parts)
                answer = await handle(request)
            except (Problem, RequestValidationError) as error:
                problem = problem_of(error)
                if problem.status < InternalError.code.status:
                    await parts.management.refuse(attempt_of(request, parts), target_of(request, kind), problem)
                else:
                    await self._tell_failure(request, parts, kind, problem)
                raise
            except Exception:
                await self._tell_failure(request, parts, kind, InternalError())
                raise
            if self.is_read:
                attempt = attempt_of(request, parts)
                asked = sorted(set(request.query_params))  # what for may be personal, and is nobody's in a log
                await parts.management.note(attempt, attempt.done(target_of(request, kind), {"parameters": asked}))
            return answer

        return audited

    async def _tell_failure(self, request: Request, parts: Parts, kind: str, problem: Problem) -> None:
        """Something is wrong on our side: an attempt it was all the same. Whatever is wrong may be in the way of this too."""
        attempt = attempt_of(request, parts)
        try:
            await parts.management.note(attempt, attempt.failed(target_of(request, kind), problem))
        except Exception:  # noqa: BLE001 - the first error is the one to tell of
            _LOG.exception("a failed call could not be written down", action=attempt.action)

    async def _admit(self, request: Request, parts: Parts) -> None:
        """Raises ``Unauthorized``, ``ValidationFailed``, ``NotFound``, ``Forbidden``, ``Unavailable``.

        Whoever it is then stands in the request's state.
        """
        problem: Problem | None = request.state.problem
        if problem is not None:
            raise problem
        if self.badge not in request.state.visit.badge:
            with suppress(ValidationFailed):  # a service that tries another's doors: the audit names whom it sent
                request.state.user = user_of(request.headers)
            raise Unauthorized(NOT_THE_DASHBOARD)
        request.state.user = user = user_of(request.headers)
        await self._place(request, parts, user)
        if user.role not in self.roles:
            raise Forbidden(f"The role {user.role} may not do that.")

    async def _place(self, request: Request, parts: Parts, user: User) -> None:
        """Let the request stand for the company that it is for: refusals, too, are then told in its audit."""


class _OfCompany(DashboardRoute):
    badge = Badge.COMPANIES

    async def _place(self, request: Request, parts: Parts, user: User) -> None:
        company_id = company_of(request.headers)
        region, limits = await parts.directory.find(company_id)
        name = f"{company_id}/{user.id}"
        request.state.visit.caller = Principal(name, region, Scope.COMPANY, company_id, None, None, limits, user=user)


class CompanyReading(_OfCompany):
    """Looks at what is a company's."""

    roles = (UserRole.MEMBER, UserRole.ADMIN)
    is_read = True


class CompanyActing(_OfCompany):
    """Does something for a company, or takes its events away."""

    roles = (UserRole.ADMIN,)
    is_read = False


class OperatorReading(DashboardRoute):
    """Looks at what the operator may."""

    badge = Badge.ADMIN
    roles = (UserRole.HYRELOG_ADMIN,)
    is_read = True


class OperatorActing(OperatorReading):
    """Does something as the operator."""

    is_read = False
