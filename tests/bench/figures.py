"""Which figures there are, in which order they are taken, and how each is told."""

from __future__ import annotations

from collections.abc import Collection

from tests.bench.admission import admission
from tests.bench.backlog import feed
from tests.bench.bench import Bench
from tests.bench.beside import ENDPOINTS, post_beside_both
from tests.bench.drain import Drain, drain
from tests.bench.idle import idle, rows
from tests.bench.indexes import costs
from tests.bench.keys import fill_keys
from tests.bench.posts import Posting, post, post_keyed
from tests.bench.queries import queries, told
from tests.bench.resting import at_rest
from tests.bench.retention import leaving, long_day, tell_leaving, tell_long_day
from tests.bench.search import indexing, lag, post_beside
from tests.bench.stats import Percentiles
from tests.bench.table import Row, cpu_row, memory, microseconds, milliseconds, rate
from tests.bench.tails import tails, tell_tails
from tests.bench.verify import verify
from tests.bench.visible import visible
from tests.bench.webhooks import tell_webhooks, webhooks

# In this order: the first needs an empty table, and each fills it for the next. The batches would overshoot what "stored" is about,
# and the events that are asked for are no chains that could be verified.
FIGURES = (
    "idle",
    "single",
    "visible",
    "search",
    "webhooks",
    "tails",
    "beside",
    "keyed",
    "stored",
    "search-stored",
    "keyed-stored",
    "indexes",
    "batches",
    "drain",
    "verify",
    "queries",
    "leaving",
    "long-day",
    "admission",
)
_BATCHES = {100: "≥ 20,000/s (aim 30,000)", 1000: ""}
_ENVELOPES = (1, 100)
_FILL_ENVELOPE = 100


class Figures:
    """Takes figures on one bench. The first posting figure is kept: others are told in terms of it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._empty: Posting | None = None
        self._memory: dict[str, int] = {}

    async def take(self, names: Collection[str]) -> list[Row]:
        """The named ones' rows. Raises what the figures raise."""
        steps = {
            "idle": self._idle,
            "single": self._single,
            "visible": self._visible,
            "search": self._search,
            "webhooks": self._webhooks,
            "tails": self._tails,
            "beside": self._beside,
            "search-stored": self._search_stored,
            "keyed": self._keyed,
            "stored": self._stored,
            "keyed-stored": self._keyed_stored,
            "indexes": self._indexes,
            "batches": self._batches,
            "drain": self._drain,
            "verify": self._verify,
            "queries": self._queries,
            "leaving": self._leaving,
            "long-day": self._long_day,
            "admission": self._admission,
        }
        rows = []
        for name in FIGURES:
            if name in names:
                await at_rest(self._bench)
                self._bench.say(name)
                rows += await steps[name]()
        return [*rows, Row("peak memory", memory(self._bench.meter.peaks | self._memory), "ingest, worker < 300 MiB", _MEMORY)]

    async def _idle(self) -> list[Row]:
        return rows(await idle(self._bench))

    async def _single_on_empty(self) -> Posting:
        if self._empty is None:
            self._empty = await self._post(1)
        return self._empty

    async def _post(self, batch: int) -> Posting:
        posting = await post(self._bench, batch)
        name = self._bench.generator.name
        peak = max(window.load.peak_bytes for window in posting.windows)
        self._memory[name] = max(peak, self._memory.get(name, 0))
        return posting

    async def _single(self) -> list[Row]:
        return self._posting(await self._single_on_empty(), "≥ 8,000/s (aim 12,000)")

    async def _visible(self) -> list[Row]:
        half = (await self._single_on_empty()).accepted / 2
        seen = await visible(self._bench, half)
        name = f"at {rate(half)}, half load"
        return [
            Row(f"202 → on the events topic {name}", milliseconds(seen.on_topic), "p99 ≤ 300 ms", "a plain consumer has the record"),
            Row(f"202 → in Postgres {name}", milliseconds(seen.in_postgres), "p99 ≤ 300 ms", "seen by a poll every 10 ms"),
            Row(f"request → 202 {name}", milliseconds(seen.answered), "", f"{seen.events:,} requests; from when each was due"),
            Row(f"request → visible in both {name}", milliseconds(seen.from_due)),
            cpu_row(f"single POST {name}", seen.cost, seen.events, "poster"),
        ]

    async def _search(self, where: str = "") -> list[Row]:
        half = (await self._single_on_empty()).accepted / 2
        done = await indexing(self._bench, self._bench.plan.backlog_of_indexes)
        behind = await lag(self._bench, half)
        alone, beside = await post_beside(self._bench)
        name = f"the search sink indexes {done.backlog:,}{where}"
        ratio = f"{beside.announced / alone.announced:.2f} of {rate(alone.announced)} without it, taken just before"
        return [
            Row(name, rate(done.rate), "", f"{done.stored:,} rows before; from 10 % to 90 %"),
            cpu_row(name, done.cost, done.events),
            Row(f"on the topic → in the search table at {rate(half)}, half load{where}", milliseconds(behind.seconds)),
            Row(f"single POST, persisted and announced, beside the search sink{where}", rate(beside.announced), "", ratio),
        ]

    async def _search_stored(self) -> list[Row]:
        return await self._search(f", {self._bench.plan.stored:,} stored")

    async def _webhooks(self) -> list[Row]:
        return tell_webhooks(await webhooks(self._bench))

    async def _tails(self) -> list[Row]:
        return tell_tails(await tails(self._bench))

    async def _beside(self) -> list[Row]:
        found = await post_beside_both(self._bench)
        beside = f"{rate(found.delivered)} delivered to {ENDPOINTS} endpoints, {rate(found.told)} told to {found.tails} tails"
        cores = f"for each core that was left to it: {found.for_each_core:.2f}"
        name = "single POST beside webhooks and tails"
        return [
            *self._posting(found.alone, "", name="single POST without webhooks and tails"),
            *self._posting(found.beside, "", name=name),
            Row("… against without", f"{found.beside.announced / found.alone.announced:.2f}", "≥ 0.90 for each core", f"{cores}; {beside}"),
        ]

    async def _stored(self) -> list[Row]:
        empty, goal = await self._single_on_empty(), self._bench.plan.stored
        missing = goal - (await self._bench.pipeline.counts()).persisted
        if missing > 0:
            await feed(self._bench, missing, _FILL_ENVELOPE)
            await self._bench.pipeline.drained()
        full = await self._post(1)
        name = f" with {goal:,} stored"
        ratio = Row("… against the empty table", f"{full.announced / empty.announced:.2f}", "≥ 0.90", "persisted and announced")
        return [*self._posting(full, "", name), ratio]

    async def _keyed(self, where: str = "") -> list[Row]:
        plain, keyed = await post_keyed(self._bench)
        name = f"single POST with an idempotency key{where}"
        rows = self._posting(keyed, "", name=name)
        beside = f"{rate(plain.announced)} without a key in the same run, window by window in turn"
        return [*rows, Row(f"… against without{where}", f"{keyed.announced / plain.announced:.2f}", "≥ 0.70", beside)]

    async def _keyed_stored(self) -> list[Row]:
        goal = self._bench.plan.stored
        await fill_keys(self._bench, goal)
        return await self._keyed(f", {goal:,} events and {goal:,} keys stored")

    async def _indexes(self) -> list[Row]:
        found = await costs(self._bench, self._bench.plan.backlog_of_indexes)
        drains = {"with all indexes of events": found.whole[0], **{f"without {name}": each for name, each in found.without.items()}}
        drains["with all indexes again"] = found.whole[1]
        return [_indexed(name, each, found.usual) for name, each in drains.items()]

    async def _batches(self) -> list[Row]:
        return [row for batch, target in _BATCHES.items() for row in self._posting(await self._post(batch), target)]

    async def _drain(self) -> list[Row]:
        return [row for size in _ENVELOPES for row in _drained(await drain(self._bench, size, self._bench.plan.backlog))]

    async def _verify(self) -> list[Row]:
        done = await verify(self._bench)
        self._memory["verify"] = done.peak_bytes
        detail = f"{done.events:,} events in {done.seconds:.1f} s, all intact"
        return [Row("hyrelog verify", rate(done.events / done.seconds), "≥ 100,000/s", detail), cpu_row("verify", done.cost, done.events)]

    async def _queries(self) -> list[Row]:
        half = (await self._single_on_empty()).accepted / 2
        return told(await queries(self._bench, half), f"at {rate(half)}, half load")

    async def _leaving(self) -> list[Row]:
        return tell_leaving(await leaving(self._bench))

    async def _long_day(self) -> list[Row]:
        return tell_long_day(await long_day(self._bench))

    async def _admission(self) -> list[Row]:
        cost = await admission()
        return [
            Row("authentication, a single POST", microseconds(cost.authentication), "", "a cached key with an allowlist, behind a proxy"),
            Row("limits, a single POST", microseconds(cost.limits), "", "the key's requests, the company's events, the headers"),
            Row(
                "authentication and limits, a single POST",
                microseconds(cost.together),
                "≤ 15 µs",
                "both in one process, without a server; CPU time",
            ),
        ]

    def _posting(self, posting: Posting, target: str, where: str = "", *, name: str = "") -> list[Row]:
        name = name or ("single POST" if posting.batch == 1 else f"batches of {posting.batch:,}") + where
        windows = ", ".join(f"{window.announced:,.0f}" for window in posting.windows)
        latency = milliseconds(Percentiles(posting.p50, posting.p99))
        before = f"{latency}; {posting.connections} connections; {posting.stored:,} stored before"
        lag = f"{posting.lag_seconds:.2f} s until drained at most (target < 2 s); windows {windows}"
        return [
            Row(f"{name}, accepted", rate(posting.accepted), "", before),
            Row(f"{name}, persisted and announced", rate(posting.announced), target, lag),
            cpu_row(name, posting.cost, posting.events, self._bench.generator.name),
        ]


_MEMORY = "resident; Postgres: all processes at the end of a figure, shared pages (buffers) counted once"


def _drained(done: Drain) -> list[Row]:
    name = f"one worker drains {done.backlog:,}, {done.per_envelope} an envelope"
    detail = f"persisted {rate(done.persisted)}; from 10 % to 90 %"
    return [Row(name, rate(done.announced), "≥ 40,000/s", detail), cpu_row(name, done.cost, done.events)]


def _indexed(name: str, done: Drain, usual: float) -> Row:
    postgres = done.cost.cpu["Postgres"] / done.events
    detail = f"{done.announced / usual:.2f} of the rate with all; Postgres {microseconds(postgres)} of CPU an event"
    return Row(f"one worker drains {done.backlog:,} {name}", rate(done.announced), "", detail)
