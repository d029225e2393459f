"""Our own processes: the gateway with both HTTP apps, the chain workers, the audit relay, the scheduler, the sinks."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.local.environment import Role, inherited, service_environ
from ops.local.part import Part
from ops.local.probes import http_answers
from ops.local.state import State

# A killed worker's partitions lie still for so long; on one machine there is no network to be patient with.
_SESSION_SECONDS = "10"
_ROOT = Path(__file__).parents[2]


def gateway(state: State) -> Part:
    """Ingest and the API on one port; it builds the settings of both from the state directory."""
    return Part(
        name="gateway",
        command=lambda: [sys.executable, "-m", "ops.local.gateway", str(state.root)],
        ready=lambda: http_answers(state.port("gateway"), "/ready", status=200),
        cwd=_ROOT,
        ports=("gateway",),
        environ=inherited,
    )


def worker(state: State, number: int) -> Part:
    """The chain worker of that number, counted from 1."""
    name = f"worker-{number}"

    def environ() -> dict[str, str]:
        own = {"STREAMS_HTTP_PORT": str(state.port(name)), "STREAMS_SESSION_TIMEOUT_SECONDS": _SESSION_SECONDS}
        return inherited() | service_environ(state, Role.STREAMS) | own

    return Part(
        name=name,
        command=lambda: [sys.executable, "-m", "streams"],
        ready=lambda: http_answers(state.port(name), "/health", status=200),
        cwd=_ROOT,
        ports=(name,),
        environ=environ,
        stop_seconds=35.0,
    )


def relay(state: State) -> Part:
    """The audit relay."""

    def environ() -> dict[str, str]:
        return inherited() | service_environ(state, Role.RELAY) | {"RELAY_HTTP_PORT": str(state.port("relay"))}

    return Part(
        name="relay",
        command=lambda: [sys.executable, "-m", "ops", "relay"],
        ready=lambda: http_answers(state.port("relay"), "/health", status=200),
        cwd=_ROOT,
        ports=("relay",),
        environ=environ,
        stop_seconds=20.0,
    )


def scheduler(state: State) -> Part:
    """What runs the daily and weekly jobs."""

    def environ() -> dict[str, str]:
        return inherited() | service_environ(state, Role.SCHEDULER) | {"SCHEDULER_HTTP_PORT": str(state.port("scheduler"))}

    return Part(
        name="scheduler",
        command=lambda: [sys.executable, "-m", "ops", "scheduler"],
        ready=lambda: http_answers(state.port("scheduler"), "/health", status=200),
        cwd=_ROOT,
        ports=("scheduler",),
        environ=environ,
        stop_seconds=25.0,
    )


def search(state: State) -> Part:
    """The search sink, of all regions."""
    return _sink(state, "search", Role.SEARCH)


def webhooks(state: State) -> Part:
    """The webhook sink and its dispatchers, of all regions."""
    return _sink(state, "webhooks", Role.WEBHOOKS)


def archive(state: State) -> Part:
    """The archive sink, of all regions."""
    return _sink(state, "archive", Role.ARCHIVER)


def _sink(state: State, name: str, role: Role) -> Part:
    """A sink; it gives way to the write path, which shares the machine with it."""

    def environ() -> dict[str, str]:
        own = {"SINKS_HTTP_PORT": str(state.port(name)), "SINKS_SESSION_TIMEOUT_SECONDS": _SESSION_SECONDS, "SINKS_NICENESS": "10"}
        return inherited() | service_environ(state, role) | own

    return Part(
        name=name,
        command=lambda: [sys.executable, "-m", "sinks", name],
        ready=lambda: http_answers(state.port(name), "/health", status=200),
        cwd=_ROOT,
        ports=(name,),
        environ=environ,
        stop_seconds=20.0,
    )


def supervisor(state: State) -> Part:
    """The process that starts the others again when they end."""
    return Part(
        name="supervisor",
        command=lambda: [sys.executable, "-m", "ops.local.supervisor", str(state.root)],
        ready=lambda: True,
        cwd=_ROOT,
        environ=inherited,
        stop_seconds=10.0,
    )
