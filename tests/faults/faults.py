"""The faults: what each does, and how it knows that it really happened.

A fault is over when what it broke is whole again. One that finds that it never took effect raises ``NotFired``.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, Signals

import psutil

from ops.faults import POINTS, RELAY_POINTS, SINK_POINTS, WEBHOOK_POINTS
from ops.local.process import wait_for
from schemas.topics import Region
from tests.faults.cluster import LEASE_SECONDS, SESSION_SECONDS, WORKERS, Cluster
from tests.faults.link import Fate, Link, Trap, Way
from tests.faults.standing import superuser

SIGTERM_SECONDS = 30.0
"""A worker told to end has ended by then, whatever is away."""
GRACE = 1.0
"""For the operating system, on top of a promised time."""
_BY_ITSELF = re.compile("ending this (worker|process)")
_PATIENCE = 90.0
"""How long a fault that waits for its moment (a commit, a crash point) may wait while other faults rage."""
COPY = b'COPY "events"'
COPIED = b"COPY "  # CommandComplete of a COPY, as rows are in and locks are held
COMMIT = b"COMMIT;"

_TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE usename IN ('streams_local', 'relay_local', 'search_local', 'webhooks_local') AND datname = current_database()"
)


class NotFired(AssertionError):
    """A chosen fault had no effect, so that the run proves nothing about it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault happens: the cluster, the part it is about, and its own randomness."""

    cluster: Cluster
    target: str
    rng: random.Random

    async def pause(self, least: float, most: float) -> None:
        """Let the fault last."""
        await asyncio.sleep(self.rng.uniform(least, most))


Fault = Callable[[Scene], Awaitable[None]]


def restart(number: Signals, *, least: float = 0.0, most: float = 2.0, seconds: float = SIGTERM_SECONDS + GRACE) -> Fault:
    """End the part by a signal, leave it down for a while, start it again."""

    async def fault(scene: Scene) -> None:
        await scene.cluster.kill(scene.target, number, seconds)
        await scene.pause(least, most)
        await scene.cluster.start(scene.target)

    return fault


def freeze(least: float, most: float) -> Fault:
    """Stop the process where it stands, and let it go on later as if nothing had happened."""

    async def fault(scene: Scene) -> None:
        pid = await scene.cluster.signal(scene.target, SIGSTOP)
        if not wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 1):
            raise NotFired(f"{scene.target} did not stop")
        await scene.pause(least, most)
        await scene.cluster.signal(scene.target, SIGCONT)

    return fault


def crash(point: str) -> Fault:
    """Die inside the worker or relay at a named place, at the first or a later passage."""

    async def fault(scene: Scene) -> None:
        cluster, name = scene.cluster, scene.target
        await cluster.kill(name)
        before = deaths(cluster, name, point)
        chance, seed = scene.rng.choice((1.0, 0.3)), scene.rng.randrange(1000)
        while deaths(cluster, name, point) != before + 1:
            await cluster.start(name, ready=False, environ={"FAULT_POINTS": f"{point}:{chance}:{seed}"})
            await cluster.ended(name, _PATIENCE)
            last_lines = cluster.parts.runners[name].last_lines()
            # Beside a broker that is starting a worker may end itself, as it should, before it comes to the point.
            if deaths(cluster, name, point) == before and not ended_itself(last_lines):
                raise NotFired(f"{name} ended, but not at {point}: {last_lines}")
        await cluster.start(name)

    return fault


def ended_itself(last_lines: str) -> bool:
    """Whether a process that knows that it is deaf or stalled says so."""
    return _BY_ITSELF.search(last_lines) is not None


def deaths(cluster: Cluster, name: str, point: str) -> int:
    """How often a part has died at a fault point."""
    return cluster.log_file(name).read_text(errors="replace").count(f'"event": "fault_point", "name": "{point}"')


def _postgres(scene: Scene) -> Link:
    return scene.cluster.postgres_links[scene.target]


def _kafka(scene: Scene) -> Link:
    return scene.cluster.kafka_links[scene.target]


Choice = Callable[[Scene], Link]


def cut(choice: Choice) -> Fault:
    """Reset the connections of a link, several times in a row."""

    async def fault(scene: Scene) -> None:
        for _ in range(scene.rng.randint(1, 3)):
            await _when_connected(choice(scene), Link.cut)
            await scene.pause(0.1, 1.0)

    return fault


def hang(choice: Choice, least: float, most: float) -> Fault:
    """Half-open connections: nothing goes through and nobody is told."""

    async def fault(scene: Scene) -> None:
        link = choice(scene)
        await _when_connected(link, Link.hang)
        await scene.pause(least, most)
        link.heal()

    return fault


def slow(choice: Choice) -> Fault:
    """Everything takes a while longer."""

    async def fault(scene: Scene) -> None:
        link = choice(scene)
        link.delay = scene.rng.uniform(0.02, 0.2)
        await scene.pause(2.0, 4.0)
        link.heal()

    return fault


async def _when_connected(link: Link, break_it: Callable[[Link], int]) -> None:
    for _ in range(int(_PATIENCE * 10)):
        if break_it(link):
            return
        link.heal()
        await asyncio.sleep(0.1)
    raise NotFired("nobody used the link")


def lose(fate: Fate) -> Fault:
    """Cut the connection just when the part commits: it can't know whether it did."""

    async def fault(scene: Scene) -> None:
        await sprung(_postgres(scene).set_trap(Trap(Way.TO_SERVER, COMMIT, fate)), "COMMIT")

    return fault


def freeze_at(way: Way, pattern: bytes, least: float, most: float) -> Fault:
    """Stop the part at a certain place of its conversation with Postgres, transaction open, and let it go on later."""

    async def fault(scene: Scene) -> None:
        pid = scene.cluster.parts.pid(scene.target)
        if pid is None:
            raise NotFired(f"{scene.target} does not run")
        await sprung(_postgres(scene).set_trap(freezer(pid, way, pattern)), pattern.decode())
        await scene.pause(least, most)
        await scene.cluster.signal(scene.target, SIGCONT)

    return fault


def freezer(pid: int, way: Way, pattern: bytes) -> Trap:
    """A trap that stops a process."""
    return Trap(way, pattern, Fate.GOES_ON, act=lambda: psutil.Process(pid).send_signal(SIGSTOP))


async def sprung(trap: Trap, name: str) -> None:
    """Wait for it. Raises ``NotFired``."""
    try:
        await asyncio.wait_for(trap.sprung.wait(), _PATIENCE)
    except TimeoutError:
        raise NotFired(f"no {name} came by") from None


async def absent(scene: Scene) -> None:
    """A worker leaves for good, as when a deployment shrinks; another comes much later."""
    await restart(SIGTERM, least=3.0, most=6.0)(scene)


async def added(scene: Scene) -> None:
    """One more worker for a while."""
    name = WORKERS[-1]
    await scene.cluster.start(name)
    await scene.pause(2.0, 6.0)
    await scene.cluster.kill(name, scene.rng.choice((SIGTERM, SIGKILL)), SIGTERM_SECONDS + GRACE)


async def end_backends(scene: Scene) -> None:
    """An administrator ends all database sessions of workers, relays and sinks."""
    for _ in range(int(_PATIENCE)):
        async with superuser(scene.cluster, Region.US) as connection:
            if await connection.fetchval(_TERMINATE):
                return
        await asyncio.sleep(1)
    raise NotFired("the workers had no database sessions")


_BEYOND = (SESSION_SECONDS + 1.0, SESSION_SECONDS + 3.0)
CRASHES: Mapping[str, Fault] = {f"worker dies at {point}": crash(point) for point in POINTS}
WORKER_FAULTS: Mapping[str, Fault] = {
    "worker kill -9": restart(SIGKILL),
    "worker SIGTERM": restart(SIGTERM),
    "worker leaves, another comes": absent,
    "worker frozen beyond its session": freeze(*_BEYOND),
    "worker frozen for a moment": freeze(0.5, 2.0),
    "worker frozen inside COPY": freeze_at(Way.TO_SERVER, COPY, *_BEYOND),
    "worker frozen before COMMIT": freeze_at(Way.TO_SERVER, COMMIT, *_BEYOND),
    "COMMIT lost": lose(Fate.REQUEST_LOST),
    "answer to COMMIT lost": lose(Fate.ANSWER_LOST),
    "Postgres link cut": cut(_postgres),
    "Postgres link half-open": hang(_postgres, 2.0, 8.0),
    "Postgres link slow": slow(_postgres),
    "Kafka link cut": cut(_kafka),
    "Kafka link half-open": hang(_kafka, 2.0, 8.0),
    "Kafka link slow": slow(_kafka),
    # Where a worker passes only after another one's crash is a case of its own in the directed tests.
    **{name: fault for name, fault in CRASHES.items() if name != "worker dies at in_reannounce"},
}
_BEYOND_BATCH = (12.0, 14.0)
"""Longer than PostgreSQL lets a relay's transaction idle: the other relay takes over in the middle of a batch."""
RELAY_CRASHES: Mapping[str, Fault] = {f"relay dies at {point}": crash(point) for point in RELAY_POINTS}
RELAY_FAULTS: Mapping[str, Fault] = {
    "relay kill -9": restart(SIGKILL),
    "relay SIGTERM": restart(SIGTERM),
    "relay frozen for a moment": freeze(0.5, 2.0),
    "relay frozen before COMMIT": freeze_at(Way.TO_SERVER, COMMIT, *_BEYOND_BATCH),
    "relay's COMMIT lost": lose(Fate.REQUEST_LOST),
    "answer to relay's COMMIT lost": lose(Fate.ANSWER_LOST),
    "relay's Postgres link cut": cut(_postgres),
    "relay's Postgres link half-open": hang(_postgres, 2.0, 8.0),
    "relay's Kafka link cut": cut(_kafka),
    "relay's Kafka link half-open": hang(_kafka, 2.0, 8.0),
    **RELAY_CRASHES,
}
SEARCH_CRASHES: Mapping[str, Fault] = {f"search dies at {point}": crash(point) for point in SINK_POINTS}
SEARCH_FAULTS: Mapping[str, Fault] = {
    "search kill -9": restart(SIGKILL),
    "search SIGTERM": restart(SIGTERM),
    "search frozen beyond its session": freeze(*_BEYOND),
    "search frozen before COMMIT": freeze_at(Way.TO_SERVER, COMMIT, *_BEYOND_BATCH),
    "search's COMMIT lost": lose(Fate.REQUEST_LOST),
    "answer to search's COMMIT lost": lose(Fate.ANSWER_LOST),
    "search's Postgres link cut": cut(_postgres),
    "search's Postgres link half-open": hang(_postgres, 2.0, 8.0),
    "search's Kafka link cut": cut(_kafka),
    "search's Kafka link half-open": hang(_kafka, 2.0, 8.0),
    # A refill is a case of its own, as the topic has everything here.
    **{name: fault for name, fault in SEARCH_CRASHES.items() if name != "search dies at sink_in_refill"},
}
WEBHOOK_CRASHES: Mapping[str, Fault] = {f"webhooks dies at {point}": crash(point) for point in (*SINK_POINTS, *WEBHOOK_POINTS)}
WEBHOOK_FAULTS: Mapping[str, Fault] = {
    "webhooks kill -9": restart(SIGKILL),
    "webhooks SIGTERM": restart(SIGTERM),
    "webhooks frozen for a moment": freeze(0.5, 2.0),
    "webhooks frozen beyond its leases": freeze(LEASE_SECONDS + 1.0, LEASE_SECONDS + 3.0),
    "webhooks frozen before COMMIT": freeze_at(Way.TO_SERVER, COMMIT, *_BEYOND_BATCH),
    "webhooks' COMMIT lost": lose(Fate.REQUEST_LOST),
    "answer to webhooks' COMMIT lost": lose(Fate.ANSWER_LOST),
    "webhooks' Postgres link cut": cut(_postgres),
    "webhooks' Postgres link half-open": hang(_postgres, 2.0, 8.0),
    "webhooks' Kafka link cut": cut(_kafka),
    "webhooks' Kafka link half-open": hang(_kafka, 2.0, 8.0),
    **{name: fault for name, fault in WEBHOOK_CRASHES.items() if name != "webhooks dies at sink_in_refill"},
}
GATEWAY_FAULTS: Mapping[str, Fault] = {
    "gateway kill -9": restart(SIGKILL),
    "gateway SIGTERM": restart(SIGTERM),
    "gateway frozen": freeze(1.0, 4.0),
    "gateway's Kafka link cut": cut(_kafka),
    "gateway's Kafka link half-open": hang(_kafka, 2.0, 8.0),
    "worker added and removed": added,
}
SERVER_FAULTS: Mapping[str, tuple[str, Fault]] = {
    "Postgres immediate stop": ("postgres", restart(SIGQUIT)),
    "Postgres kill -9": ("postgres", restart(SIGKILL)),
    "Postgres sessions ended": ("postgres", end_backends),
    "Kafka kill -9": ("kafka", restart(SIGKILL)),
    "Kafka frozen": ("kafka", freeze(2.0, 5.0)),
}
