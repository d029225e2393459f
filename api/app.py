"""The query API, built by hand: ``create_app(settings)``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from api import docs, events, keys, parameters, rejections, schemas, usage, workspaces
from api.archived import Archived
from api.context import Parts
from api.cursor import Cursors
from api.dashboard import own, restores, shared
from api.dashboard.admin import companies as admin_companies
from api.dashboard.admin import restores as admin_restores
from api.dashboard.admin.operator import Operator
from api.dashboard.directory import Directory
from api.dashboard.restoring import Restores
from api.dashboard.tenants import Tenants
from api.exports import routes as exports
from api.exports.actions import Exports
from api.exports.archive import Archives
from api.exports.downloads import Downloads
from api.exports.source import Source
from api.finder import Finder
from api.management import Management
from api.store import Store
from api.tail import route as tail
from api.tail.opening import open_tails
from api.webhooks import reading, routes
from api.webhooks.actions import Rules, Webhooks
from api.webhooks.deliveries import Deliveries
from api.webhooks.replays import Replays
from ops import health, web
from ops.archive.data_keys import DataKeys
from ops.auth import CachePolicy
from ops.clock import SystemClock
from ops.dashboard_door import DashboardDoor, Doors
from ops.db import Pool, Timeouts, open_pool
from ops.egress import Policy
from ops.entrance import Entrance, open_entrance
from ops.metrics import Metrics
from ops.objects import ObjectStore
from ops.replicas import Notices, process_name
from ops.sealing import Sealer
from ops.settings import Settings
from schemas.topics import Region

_SERVICE = "hyrelog-api"
_ARCHIVE_THREADS = 8
"""How many blocks of archives are read at a time for exports, of all regions together."""
_KEY_POOL_SIZE = 2
"""Key look-ups have connections of their own, so that slow queries never hold up who is calling."""


_ROUTERS = (
    tail.router,  # before events: its path would be an event's
    events.router,
    workspaces.router,
    usage.router,
    rejections.router,
    schemas.router,
    keys.router,
    keys.managed_router,
    reading.router,
    routes.router,
    exports.router,
    exports.reading_router,
    own.reading,
    own.acting,
    shared.router(),
    restores.reading,
    restores.acting,
    admin_companies.reading,
    admin_companies.acting,
    admin_restores.reading,
    admin_restores.acting,
)


class State(TypedDict):
    """The state that every request sees."""

    parts: Parts
    door: Doors


def create_app(settings: Settings, *, registry: CollectorRegistry | None = None, stopping: asyncio.Event | None = None) -> FastAPI:
    """The app. It starts, and answers 503, while databases are away. Metrics go to ``registry``, its own by default.

    When ``stopping`` is set, answers that would go on for ever end.
    """
    metrics = Metrics(registry or CollectorRegistry())
    checks: dict[str, health.Check] = {}
    notices: list[Notices] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            parts, entrance = await _open(settings, metrics, stack, stopping or asyncio.Event())
            notices.extend((entrance.notices, parts.tails.notices))
            for region in settings.regions:
                checks[f"postgres.{region.lower()}"] = partial(parts.store.ping, region)
            yield State(parts=parts, door=Doors(entrance.door, DashboardDoor.of(settings, entrance.limits)))

    app = FastAPI(
        title="HyreLog",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # one would be built of the Host that was sent, and asks nobody who he is
    )
    web.install(app, metrics)

    @app.get("/", include_in_schema=False, dependencies=[Depends(parameters.none)])
    async def root() -> dict[str, str]:
        return {"service": _SERVICE, "version": app.version, "status": "running"}

    app.include_router(health.router(settings, health.Health(_SERVICE, checks, SystemClock(), notices), metrics.registry))
    for router in _ROUTERS:
        app.include_router(router)
    app.include_router(rejections.operator_router(settings))
    docs.install(app)
    return app


async def _open(settings: Settings, metrics: Metrics, stack: AsyncExitStack, stopping: asyncio.Event) -> tuple[Parts, Entrance]:
    pools: dict[Region, Pool] = {}
    key_pools: dict[Region, Pool] = {}
    for region in settings.regions:
        pools[region] = await _pool(settings, region, settings.api_pool_size, stack)
        key_pools[region] = await _pool(settings, region, _KEY_POOL_SIZE, stack)
    clock, store = SystemClock(), Store(pools, metrics, max(1, settings.api_pool_size // 2))
    entrance = open_entrance(settings, key_pools, CachePolicy(), clock=clock, metrics=metrics, stack=stack)
    management = Management(store, settings.secrets("api_key_secret")[0], clock)
    webhooks = Webhooks(store, management, Rules(Sealer.of(settings), Policy.of(settings)))
    objects, data_keys = {each: ObjectStore.of(settings, each) for each in settings.regions}, DataKeys(Sealer.of_archive(settings))
    archive_threads = ThreadPoolExecutor(_ARCHIVE_THREADS, "archive")
    stack.callback(archive_threads.shutdown, wait=False, cancel_futures=True)
    exports_of = Exports(store, management, settings.export_downloads_per_company)
    operator = Operator(settings, store)
    parts = Parts(
        store=store,
        finder=Finder(store),
        archived=Archived(store, objects, data_keys, clock),
        cursors=Cursors(settings.secrets("cursor_secret")),
        management=management,
        webhooks=webhooks,
        replays=Replays(webhooks),
        deliveries=Deliveries(store),
        exports=exports_of,
        downloads=Downloads(exports_of, Source(store, Archives(objects, data_keys, archive_threads)), stopping, metrics),
        directory=Directory(store),
        tenants=Tenants(store, management),
        operator=operator,
        restores=Restores(store, management, operator),
        tails=open_tails(settings, store, key_pools, stopping=stopping, clock=clock, metrics=metrics, stack=stack),
        key_secrets=settings.secrets("api_key_secret"),
        regions=settings.regions,
        body_timeout=settings.body_timeout_seconds,
    )
    return parts, entrance


async def _pool(settings: Settings, region: Region, size: int, stack: AsyncExitStack) -> Pool:
    timeouts = Timeouts(statement=settings.statement_timeout_seconds)
    pool = await open_pool(
        settings.database_url(region),
        application_name=process_name(_SERVICE),
        region=region,
        max_size=size,
        timeouts=timeouts,
    )
    stack.callback(pool.terminate)
    return pool


def _version() -> str:
    try:
        return version("hyrelog")
    except PackageNotFoundError:
        return "0.0.0+source"
