"""``python -m sinks NAME``: run one sink until SIGTERM. Any number of each may run; they share its partitions."""

from __future__ import annotations

from argparse import ArgumentParser

from sinks.process import run
from sinks.search.handle import handle
from sinks.search.store import SearchStore

_SINKS = {"search": lambda: run("search", handle, SearchStore)}


def main() -> None:
    """Entry point."""
    parser = ArgumentParser(prog="python -m sinks", description="Run a consumer of the events topic.")
    parser.add_argument("sink", choices=sorted(_SINKS), help="Which one.")
    _SINKS[parser.parse_args().sink]()


if __name__ == "__main__":
    main()
