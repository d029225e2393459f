"""``python -m sinks NAME``: run one sink until SIGTERM. Any number of each may run; they share its partitions.

``python -m sinks NAME --retry-dead WHY [--region R]``: try its dead letters again, in the owner's role, and end.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any, NamedTuple

from ops import log
from ops.local.environment import Role, ambient_environ, settings_of
from ops.settings import Settings
from schemas.topics import Region
from sinks.loop import Handle
from sinks.process import run
from sinks.region import OpenStore
from sinks.retry import retry_dead
from sinks.search.handle import handle
from sinks.search.store import SearchStore


class _Sink(NamedTuple):
    handle: Handle[Any]
    open_store: OpenStore[Any]


_SINKS = {"search": _Sink(handle, SearchStore)}


def main() -> None:
    """Entry point."""
    parser = ArgumentParser(prog="python -m sinks", description="Run a consumer of the events topic.")
    parser.add_argument("sink", choices=sorted(_SINKS), help="Which one.")
    parser.add_argument("--retry-dead", metavar="WHY", help="Try its dead letters again instead; the reason is recorded.")
    parser.add_argument("--region", type=lambda text: Region(text.upper()), help="Only the dead letters of this region.")
    asked = parser.parse_args()
    if asked.retry_dead is None:
        run(asked.sink, *_SINKS[asked.sink])
    elif asked.retry_dead.strip():
        _retry(asked.sink, asked.retry_dead, asked.region and [asked.region])
    else:
        parser.error("say why: it is recorded")


def _retry(name: str, why: str, regions: Iterable[Region] | None) -> None:
    log.configure("WARNING", f"sink-{name}")
    settings = settings_of(Settings, ambient_environ(Role.OWNER))
    for region in regions or settings.regions:
        counts = asyncio.run(retry_dead(name, *_SINKS[name], settings, region, why))
        print(region, *(f"{count} {fate}" for fate, count in counts.items() if count), sep=", ")  # noqa: T201 - what a command says


if __name__ == "__main__":
    main()
