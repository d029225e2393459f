"""``python -m sinks NAME``: run one sink until SIGTERM. Any number of each may run; they share its partitions.

``python -m sinks NAME --retry-dead WHY [--region R]``: try its dead letters again, in the owner's role, and end.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ops import log
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.topics import Region
from sinks.archive.region import RegionArchiver
from sinks.process import Part, PartsOf, Sink, Surroundings, of_events, run
from sinks.retry import retry_dead
from sinks.search.handle import handle as search_handle
from sinks.search.store import SearchStore
from sinks.webhooks.dispatcher import Dispatcher
from sinks.webhooks.handle import handle as webhooks_handle
from sinks.webhooks.store import WebhookStore

_ALONE: Mapping[str, Sink[Any]] = {"search": Sink(search_handle, SearchStore), "webhooks": Sink(webhooks_handle, WebhookStore)}
"""As dead letters are tried again."""


def _search(_around: Surroundings, _region: Region) -> Sink[Any]:
    return _ALONE["search"]


def _webhooks(around: Surroundings, region: Region) -> Sink[Any]:
    settings, metrics, clock, faults = around
    dispatcher = Dispatcher(settings, region, metrics=metrics, clock=clock, faults=faults)
    return Sink(webhooks_handle, partial(WebhookStore, intake=dispatcher), dispatcher)


def _archive(around: Surroundings, region: Region) -> Mapping[str, Part]:
    settings, metrics, clock, faults = around
    return {f"archive {region}": RegionArchiver(settings, region, metrics=metrics, clock=clock, faults=faults)}


_SINKS: Mapping[str, PartsOf] = {"search": of_events("search", _search), "webhooks": of_events("webhooks", _webhooks), "archive": _archive}


def main() -> None:
    """Entry point."""
    parser = ArgumentParser(prog="python -m sinks", description="Run a consumer of the topics behind the chain.")
    parser.add_argument("sink", choices=sorted(_SINKS), help="Which one.")
    parser.add_argument("--retry-dead", metavar="WHY", help="Try its dead letters again instead; the reason is recorded.")
    parser.add_argument("--region", type=lambda text: Region(text.upper()), help="Only the dead letters of this region.")
    asked = parser.parse_args()
    if asked.retry_dead is None:
        run(asked.sink, _SINKS[asked.sink])
    elif asked.sink not in _ALONE:
        parser.error(f"{asked.sink} has no dead letters")
    elif asked.retry_dead.strip():
        _retry(asked.sink, asked.retry_dead, asked.region and [asked.region])
    else:
        parser.error("say why: it is recorded")


def _retry(name: str, why: str, regions: Iterable[Region] | None) -> None:
    log.configure("WARNING", f"sink-{name}")
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    sink = _ALONE[name]
    for region in regions or settings.regions:
        counts = asyncio.run(retry_dead(name, sink.handle, sink.open_store, settings, region, why))
        print(region, *(f"{count} {fate}" for fate, count in counts.items() if count), sep=", ")  # noqa: T201 - what a command says


if __name__ == "__main__":
    main()
