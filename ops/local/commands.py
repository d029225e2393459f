"""``hyrelog up | down | status | logs``: the embedded stack on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.local import logfiles, report
from ops.local.demo import DemoError, tell
from ops.local.kafka import KafkaError
from ops.local.postgres import PostgresError
from ops.local.progress import shown
from ops.local.runner import PartError
from ops.local.stack import Stack, fetch_missing
from ops.local.state import State, default_root
from ops.local.tools import MissingToolError

StateOption = Annotated[Path, typer.Option("--state", help="The stack's directory.", default_factory=default_root, show_default=".hyrelog")]
WorkersOption = Annotated[int | None, typer.Option(min=1, max=16, help="Chain workers; as many as last time when not given.")]
OnlyOption = Annotated[str, typer.Option(help="Just these parts, comma separated.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, logs, demo, fetch):
        app.command()(command)


def up(state: StateOption, workers: WorkersOption = None, only: OnlyOption = "") -> None:
    """Start what is not running; what runs and answers is left alone."""
    with _explained():
        _bring_up(State(state), workers, only)


def demo(state: StateOption) -> None:
    """Start the stack, send a few events and follow them to the end; leaves the stack running."""
    with _explained():
        _bring_up(State(state))
        tell(State(state), Console())


def fetch() -> None:
    """Fetch what the embedded stack runs on, where it is missing; `up` does it too."""
    with _explained(), shown(Console()) as progress:
        fetch_missing(progress)


def _bring_up(state: State, workers: int | None = None, only: str = "") -> None:
    with shown(Console()) as progress:
        Stack(state, workers=workers).up([name.strip() for name in only.split(",") if name.strip()], progress)


@contextmanager
def _explained() -> Iterator[None]:
    """What can go wrong on a machine is told in a sentence, not as a traceback."""
    try:
        yield
    except (PartError, MissingToolError, PostgresError, KafkaError, DemoError) as error:
        raise SystemExit(f"hyrelog: {error}") from error


def down(
    state: StateOption,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete the stack's directory too, with all events in it.")] = False,
) -> None:
    """Stop everything; the data stays unless told otherwise."""
    if not State.exists(state):
        raise SystemExit(f"hyrelog: no stack in {state}")
    stack = Stack(State(state))
    if delete_data:
        stack.destroy()
    else:
        stack.down()


def status(state: StateOption) -> None:
    """Show each part: pid, port, health, memory, up since."""
    Console().print(report.table(Stack(State(state))))


def logs(
    state: StateOption,
    part: Annotated[str | None, typer.Argument(help="One part; all when not given.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes.")] = False,
) -> None:
    """Print the parts' logs."""
    logfiles.show(State(state), part, follow=follow)
