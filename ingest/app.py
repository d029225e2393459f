"""The write path as an ASGI app, built by hand in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from ingest.accept import Acceptor
from ingest.claims import Claims, Kinds
from ingest.events import Endpoint
from ingest.gate import Gate
from ingest.intake import Intake
from ingest.keys import Keys
from ingest.rules import Rules
from ingest.store import ClaimTable, Store
from ingest.sweep import Sweeper
from ingest.wait import Waiters
from ops import db, health, kafka
from ops.auth import INGEST_POLICY
from ops.clock import Clock, SystemClock
from ops.db import Pool
from ops.door import Door
from ops.entrance import open_entrance
from ops.metrics import Metrics
from ops.publish import Publisher
from ops.replicas import Notices, process_name
from ops.settings import Settings
from ops.web import send_problem, trace_id
from schemas.problems import MethodNotAllowed, RateLimited
from schemas.topics import Region

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_POOL_SIZE = 4
_KEY_POOL_SIZE = 2
"""Key look-ups have connections of their own: a busy pool must not pass for a database that is away."""
_CLAIM_POOL_SIZE = 2
"""Of each kind, singles and batches: its statement, and what it gives back meanwhile, or the sweep."""
CLAIM_PARAMETERS = {
    # A claim may be lost: it is only a proposal.
    "synchronous_commit": "off",
    **db.BY_INDEX,
}
_SERVICE = "hyrelog-ingest"
ROUTES: Mapping[str, Callable[[Endpoint, Scope, Receive, Send], Awaitable[None]]] = {
    "/v1/events": Endpoint.single,
    "/v1/events/batch": Endpoint.batch,
}
"""What is served here by POST, and documented in ``schemas.ingest_openapi``."""


def create_app(settings: Settings, *, registry: CollectorRegistry, clock: Clock | None = None) -> ASGIApp:
    """The app of one ingest process. It starts while Postgres or Kafka are away, and answers 503 until they are back."""
    return IngestApp(settings, registry, clock or SystemClock())


class IngestApp:
    """Two routes of its own; all else (health, metrics) is a small FastAPI app, for when ingest runs alone."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, clock: Clock) -> None:
        self._settings = settings
        self._metrics = Metrics(registry)
        self._clock = clock
        self._exits = AsyncExitStack()
        self._publishers: dict[Region, Publisher] = {}
        self._notices: list[Notices] = []
        checks: dict[str, health.Check] = {f"kafka {region}": self._check_kafka(region) for region in settings.regions}
        self.operations = health.create_app(settings, health.Health(_SERVICE, checks, clock, self._notices), self._metrics)
        self._door: Door
        self._endpoint: Endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        handle = ROUTES.get(scope["path"]) if scope["type"] == "http" else None
        if handle is not None:
            if scope["method"] == "POST":
                await handle(self._endpoint, scope, receive, send)
            else:
                await self._refuse_method(scope, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            scope.setdefault("state", {})["door"] = self._door
            await self.operations(scope, receive, send)

    async def _refuse_method(self, scope: Scope, send: Send) -> None:
        visit, problem = await self._door.enter(scope)
        refusal = problem if isinstance(problem, RateLimited) else MethodNotAllowed("POST")
        await send_problem(send, refusal, trace_id(scope["headers"]), self._door.headers(visit))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._open()
        except Exception as error:  # noqa: BLE001 - uvicorn prints it and ends the process
            await self._exits.aclose()
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._exits.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        settings = self._settings
        key_pools: dict[Region, Pool] = {}
        stores: dict[Region, Store] = {}
        gates: dict[Region, Gate] = {}
        waiters: dict[Region, Waiters] = {}
        kinds: dict[Region, Kinds] = {}
        for region in settings.regions:
            key_pools[region] = await self._open_pool(region, _KEY_POOL_SIZE)
            kinds[region] = await self._open_kinds(region)
            self._publishers[region] = await self._open_publisher(region)
            stores[region] = store = Store(region, await self._open_pool(region, _POOL_SIZE))
            gates[region] = Gate(settings, region, store, self._clock)
            await gates[region].start()
            self._exits.push_async_callback(gates[region].stop)
            waiters[region] = Waiters(store, settings.ingest_max_waiters, self._metrics)
            self._exits.push_async_callback(waiters[region].stop)
        entrance = open_entrance(settings, key_pools, INGEST_POLICY, clock=self._clock, metrics=self._metrics, stack=self._exits)
        self._door = entrance.door
        self._notices.append(entrance.notices)
        acceptor = Acceptor(self._publishers, gates, settings.topic_partitions, metrics=self._metrics)
        self._endpoint = Endpoint(
            Intake(
                entrance,
                Rules(stores, self._clock),
                Keys(kinds, acceptor, settings.secrets("idempotency_secret"), self._metrics),
                acceptor,
                waiters,
                self._clock,
                self._metrics,
                body_timeout=settings.body_timeout_seconds,
                max_waiting_bytes=settings.ingest_max_unacked_bytes,
            )
        )

    async def _open_kinds(self, region: Region) -> Kinds:
        singles, batches = [ClaimTable(await self._open_pool(region, _CLAIM_POOL_SIZE, CLAIM_PARAMETERS)) for _kind in Kinds._fields]
        kinds = Kinds(Claims(region, singles, self._metrics), Claims(region, batches, self._metrics))
        for claims in kinds:
            self._exits.push_async_callback(claims.stop)
        sweeper = Sweeper(region, batches, self._clock, self._metrics)
        await sweeper.start()
        self._exits.push_async_callback(sweeper.stop)
        return kinds

    async def _open_pool(self, region: Region, size: int, parameters: Mapping[str, str] = MappingProxyType({})) -> Pool:
        pool = await db.open_pool(
            self._settings.database_url(region),
            application_name=process_name(_SERVICE),
            region=region,
            max_size=size,
            timeouts=db.Timeouts(statement=self._settings.statement_timeout_seconds),
            parameters=parameters,
        )
        self._exits.callback(pool.terminate)
        return pool

    async def _open_publisher(self, region: Region) -> Publisher:
        publisher = Publisher(
            lambda: kafka.producer(self._settings, region),
            max_unacked_bytes=self._settings.ingest_max_unacked_bytes,
            ack_timeout=self._settings.ingest_ack_timeout_seconds,
            on_rebuild=self._metrics.producer_rebuilds.labels(region.value).inc,
            on_ack=self._metrics.ack_seconds.labels(region.value).observe,
        )
        self._metrics.unacked_bytes.labels(region.value).set_function(lambda: publisher.unacked_bytes)
        await publisher.start()
        self._exits.push_async_callback(publisher.stop)
        return publisher

    def _check_kafka(self, region: Region) -> health.Check:
        async def connected() -> None:
            if not self._publishers[region].connected:
                raise ConnectionError("no producer is connected")

        return connected
