"""How long lists of events take, filter by filter, while ingest runs: in a large company beside a small one.

The large one has 200 workspaces, the first of which holds half of its events. Each query is asked with the company's key and with that
workspace's, for its first page and for one deep in the list, in turn with all others, each time for another value.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlencode

import asyncpg
import orjson

from ops.db import use_micros
from ops.local.environment import Role
from ops.seed import Tenant
from schemas.event import format_time
from tests.bench.bench import Bench
from tests.bench.load import CONNECTIONS, Poster
from tests.bench.pipeline import REGION
from tests.bench.query_rows import FIRST_RECEIPT, Asked, load, trace_of
from tests.bench.search import at_work
from tests.bench.stats import Percentiles, percentiles
from tests.bench.table import Row, milliseconds
from tests.bench.workload import request_files
from tests.support.chains import SECOND
from tests.support.stack import create_tenant

WORKSPACES = 200
SMALL = 1000
PAGE = 50
_DEEP_PAGES = 2
_DEEP_LIMIT = 200
_DEEP_SHARE = 0.2
_ASKED = Asked()
Parameters = Mapping[str, str]


class Kind(NamedTuple):
    """A query: its name, how long its 99th percentile may be (seconds), and what it asks for of so many events.

    ``{project}`` in a value stands for one of the company's.
    """

    name: str
    target: float
    draw: Callable[[random.Random, int], Parameters]


class Place(NamedTuple):
    """What was measured: a query with which key, on the first page or deep in the list."""

    query: str
    key: str
    page: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, in the large company and in the small one; ``events`` is how many the large one has."""

    events: int
    large: Mapping[Place, Percentiles]
    small: Mapping[Place, Percentiles]


def _filter(name: str, choose: Callable[[random.Random], str]) -> Callable[[random.Random, int], Parameters]:
    return lambda rng, _events: {name: choose(rng)}


def _span(first: str, last: str, share: float) -> Callable[[random.Random, int], Parameters]:
    """From and to, anywhere, over that share of all time."""

    def draw(rng: random.Random, events: int) -> Parameters:
        start = FIRST_RECEIPT + int(events * rng.uniform(0, 1 - share)) * SECOND
        return {first: format_time(start), last: format_time(start + int(events * share) * SECOND)}

    return draw


def _all(*draws: Callable[[random.Random, int], Parameters]) -> Callable[[random.Random, int], Parameters]:
    return lambda rng, events: {name: value for draw in draws for name, value in draw(rng, events).items()}


def _one_of(*values: str) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _rare_actor(rng: random.Random) -> str:
    return f"usr_{rng.randrange(1000, 5000):08}"


_OUTCOME = _filter("outcome", _one_of("DENIED"))
KINDS = (
    Kind("no filter", 0.05, lambda _rng, _events: {}),
    Kind("asc", 0.05, lambda _rng, _events: {"order": "asc"}),
    Kind("from, to", 0.05, _span("from", "to", 0.01)),
    Kind("receivedFrom, receivedTo: a hundredth", 0.05, _span("receivedFrom", "receivedTo", 0.01)),
    Kind("receivedFrom, receivedTo: a tenth", 0.05, _span("receivedFrom", "receivedTo", 0.1)),
    Kind("category", 0.05, _filter("category", _one_of("user", "security"))),
    Kind("action", 0.05, _filter("action", _one_of(_ASKED.action, _ASKED.rare_action))),
    Kind("action, a prefix", 0.05, _filter("action", _one_of("document.*", "key.*"))),
    Kind("outcome", 0.05, _filter("outcome", _one_of("FAILURE", "DENIED"))),
    Kind("projectId", 0.05, lambda _rng, _events: {"projectId": "{project}"}),
    Kind("tenantId", 0.05, _filter("tenantId", lambda rng: f"cust_{rng.randrange(300):04}")),
    Kind("actorId, frequent", 0.05, _filter("actorId", lambda rng: f"usr_{rng.randrange(20):08}")),
    Kind("actorId, rare", 0.05, _filter("actorId", _rare_actor)),
    Kind("actorEmail", 0.05, _filter("actorEmail", lambda rng: f"{_rare_actor(rng)}@acme.example")),
    Kind("resourceType", 0.05, _filter("resourceType", _one_of("document", "key"))),
    Kind("resourceId", 0.05, _filter("resourceId", lambda rng: f"res_{rng.randrange(100_000):08}")),
    Kind("traceId", 0.05, lambda rng, events: {"traceId": trace_of(rng.randrange(events // 3))}),
    Kind("idempotencyKey", 0.05, lambda rng, events: {"idempotencyKey": f"key-{rng.randrange(events // 10) * 10}"}),
    Kind("outcome, category", 0.05, _all(_OUTCOME, _filter("category", _one_of("billing", "export")))),
    Kind("outcome, from, to", 0.05, _all(_OUTCOME, _span("from", "to", 0.1))),
    Kind("action, receivedFrom, receivedTo", 0.05, _all(_filter("action", _one_of("report.*")), _span("receivedFrom", "receivedTo", 0.1))),
    Kind("q, frequent", 0.2, _filter("q", _one_of("quarterly report", "lovelace"))),
    Kind("q, rare", 0.2, lambda rng, events: {"q": f"batch{rng.randrange(max(1, events // 20))}"}),
    Kind("q, two words", 0.2, _filter("q", lambda rng: f"quarterly {rng.randrange(5000):08}")),
    Kind("q, outcome", 0.2, _all(_OUTCOME, _filter("q", _one_of("lovelace")))),
)
OF_ONE_WORKSPACE = (
    Kind("sort=seq", 0.05, lambda _rng, _events: {"sort": "seq", "order": "asc"}),
    Kind("sort=seq, actorId, rare", 0.05, lambda rng, _events: {"sort": "seq", "actorId": _rare_actor(rng)}),
    Kind("sort=seq, from, to", 0.05, lambda rng, events: {"sort": "seq", **_span("from", "to", 0.1)(rng, events)}),
)


@dataclass
class Asker:
    """Asks over one kept connection, until told to stop. ``seconds`` is what each answer took."""

    port: int
    tenant: Tenant
    events: int
    seconds: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    rng: random.Random = field(default_factory=lambda: random.Random(11))

    def run(self, done: threading.Event) -> None:
        """Go round all queries. Raises ``RuntimeError`` when one is refused."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        keys = {"company key": self.tenant.key or "", "largest workspace": self.tenant.workspaces[0].key or ""}
        while not done.is_set():
            for name, key in keys.items():
                for kind in KINDS if name == "company key" else (*KINDS, *OF_ONE_WORKSPACE):
                    self._ask(connection, kind, name, key)
        connection.close()

    def _ask(self, connection: HTTPConnection, kind: Kind, name: str, key: str) -> None:
        project = self.rng.choice(self.tenant.workspaces).project_id
        asked = {parameter: value.format(project=project) for parameter, value in kind.draw(self.rng, self.events).items()}
        self._get(connection, key, asked, PAGE, Place(kind.name, name, "first"))
        if self.rng.random() > _DEEP_SHARE:
            return
        cursor: str | None = None
        for _ in range(_DEEP_PAGES):
            cursor = self._get(connection, key, asked if cursor is None else {**asked, "cursor": cursor}, _DEEP_LIMIT, None)
            if cursor is None:
                return
        self._get(connection, key, {**asked, "cursor": cursor or ""}, PAGE, Place(kind.name, name, "deep"))

    def _get(self, connection: HTTPConnection, key: str, asked: Parameters, limit: int, place: Place | None) -> str | None:
        started = perf_counter()
        connection.request(
            "GET",
            f"/v1/events?{urlencode({**asked, 'limit': limit})}",
            headers={"Authorization": f"Bearer {key}", "Connection": "keep-alive"},
        )
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{place or asked}: {answer.status} {body.decode()}")
        if place is not None:
            self.seconds[place].append(perf_counter() - started)
        cursor: str | None = orjson.loads(body)["nextCursor"]
        return cursor


async def queries(bench: Bench, rate: float) -> Measured:
    """Load both companies, then ask each in turn while ``rate`` requests a second are posted. Raises ``LoadError`` and ``NotDrained``."""
    events = bench.plan.stored
    await at_work(bench)
    large = await load_company(bench, "Large", events)
    small = await load_company(bench, "Small", SMALL)
    return Measured(events, await ask(bench, large, events, rate), await ask(bench, small, SMALL, rate))


async def load_company(bench: Bench, name: str, events: int) -> Tenant:
    """A new company with so many stored events."""
    tenant = create_tenant(bench.stack.settings(Role.ADMIN), REGION, name, plan="ENTERPRISE", workspaces=WORKSPACES)
    connection = await asyncpg.connect(bench.stack.superuser_url(REGION))
    try:
        await use_micros(connection)
        await load(connection, tenant, events)
    finally:
        await connection.close()
    return tenant


async def ask(bench: Bench, tenant: Tenant, events: int, rate: float) -> dict[Place, Percentiles]:
    """Seconds of each query while ``rate`` requests a second are posted. Raises ``LoadError`` and ``NotDrained``."""
    asker, done = Asker(bench.port, tenant, events), threading.Event()
    with request_files(bench.tenant, 1) as requests:
        asking = asyncio.create_task(asyncio.to_thread(asker.run, done))
        try:
            await asyncio.to_thread(Poster().post, bench.port, requests, bench.plan.query_seconds, CONNECTIONS, rate)
        finally:
            done.set()
            await asking
        await bench.pipeline.drained()
    return {place: percentiles(values) for place, values in asker.seconds.items()}


def told(measured: Measured, load: str) -> list[Row]:
    """A row for each query and key."""
    size = f"{measured.events:,} events of {WORKSPACES} workspaces, the largest of which has half"
    rows = [Row("queries", f"of {size}", "", f"pages of {PAGE} over HTTP, {load}; beside each, the same of {SMALL:,} events")]
    for kind in (*KINDS, *OF_ONE_WORKSPACE):
        for key in ("company key", "largest workspace"):
            first = Place(kind.name, key, "first")
            if first in measured.large:
                target = f"p99 ≤ {kind.target * 1000:.0f} ms"
                rows.append(Row(f"query: {kind.name}; {key}", milliseconds(measured.large[first]), target, _beside(measured, first)))
    return rows


def _beside(measured: Measured, first: Place) -> str:
    deep = measured.large.get(first._replace(page="deep"))
    parts = [f"{_DEEP_PAGES * _DEEP_LIMIT} rows deep: {milliseconds(deep)}"] if deep else []
    return "; ".join([*parts, f"of {SMALL:,}: {milliseconds(measured.small[first])}"])
