"""``/health``, ``/ready`` and ``/internal/*``: is it alive, can it serve, and how is it doing (contract §2)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Header, Response, Security
from fastapi.security import APIKeyHeader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ops import log, web
from ops.clock import Clock
from ops.metrics import Metrics
from ops.replicas import Notices
from ops.settings import Settings
from schemas.event import format_time
from schemas.problems import Unauthorized

Check = Callable[[], Awaitable[object]]
"""Raises, or takes too long, when the part it is named after is missing."""

_CHECK_SECONDS = 2.0
_REMEMBER_SECONDS = 1.0
NOT_INTERNAL = "A valid x-internal-token is required."
_TOKEN = APIKeyHeader(name="x-internal-token", scheme_name="InternalToken", auto_error=False)
_LOG = log.get(__name__)


class Health:
    """What a process needs in order to serve, asked at most once a second however often others ask us."""

    def __init__(self, service: str, checks: Mapping[str, Check], clock: Clock, notices: Sequence[Notices] = ()) -> None:
        """``checks`` are named after the part they look at: ``postgres.eu``, ``kafka.eu``."""
        self.service = service
        self._checks = checks
        self._clock = clock
        self._notices = notices
        self._started = clock.monotonic()
        self._asked = float("-inf")
        self._missing: asyncio.Future[list[str]] | None = None

    async def missing(self) -> list[str]:
        """The names of the parts that are missing; empty when all is well."""
        now = self._clock.monotonic()
        if self._missing is None or now - self._asked > _REMEMBER_SECONDS:
            self._asked = now
            self._missing = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._missing)

    async def report(self) -> dict[str, Any]:
        """``{status, uptime, timestamp, service, missing, notices}``; ``uptime`` is in seconds."""
        missing = await self.missing()
        return {
            "status": "degraded" if missing else "ok",
            "uptime": round(self._clock.monotonic() - self._started, 3),
            "timestamp": format_time(self._clock.micros()),
            "service": self.service,
            "missing": missing,
            "notices": [notice for tell in self._notices for notice in tell()],
        }

    async def _ask(self) -> list[str]:
        answers = await asyncio.gather(*(_answers(name, check) for name, check in self._checks.items()))
        return [name for name, good in zip(self._checks, answers, strict=True) if not good]


async def _answers(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001 - whatever a check raises, its part is missing
        _LOG.warning("not ready", part=name, error=type(error).__name__)
        return False
    return True


def internal_only(settings: Settings) -> Callable[..., None]:
    """A dependency that admits INTERNAL_TOKEN and, if set, its predecessor, and answers all else with 401."""
    tokens = settings.secrets("internal_token")

    def check(token: Annotated[str | None, Security(_TOKEN)]) -> None:
        given = (token or "").encode()
        if not any(hmac.compare_digest(given, token) for token in tokens):
            raise Unauthorized(NOT_INTERNAL)

    return check


def router(settings: Settings, health: Health, registry: CollectorRegistry) -> APIRouter:
    """The four routes; ``schemas.operations_openapi`` documents them."""
    routes = APIRouter(include_in_schema=False)
    inside = [Depends(internal_only(settings))]

    @routes.get("/health")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/ready")
    async def ready() -> Response:
        missing = await health.missing()
        body = orjson.dumps({"status": "unavailable", "missing": missing} if missing else {"status": "ready"})
        return Response(body, 503 if missing else 200, {"Retry-After": "1"} if missing else None, "application/json")

    @routes.get("/internal/health", dependencies=inside)
    async def report() -> dict[str, Any]:
        return await health.report()

    @routes.get("/internal/metrics", dependencies=inside)
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        if "application/json" in accept:
            return Response(_metrics_json(registry), media_type="application/json")
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes


def create_app(settings: Settings, health: Health, metrics: Metrics) -> FastAPI:
    """An app of these routes alone, for a process that serves nothing else over HTTP."""
    app = FastAPI(title=health.service, openapi_url=None)
    web.install(app, metrics)
    app.include_router(router(settings, health, metrics.registry))
    return app


def _metrics_json(registry: CollectorRegistry) -> bytes:
    families = [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [{"name": sample.name, "labels": sample.labels, "value": sample.value} for sample in family.samples],
        }
        for family in registry.collect()
    ]
    return orjson.dumps(families)
