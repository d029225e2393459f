"""What operators' commands print: tables for people, one JSON document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from ops.printable import printable

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]

_ANY_WIDTH = 10_000


def echo_json(value: object) -> None:
    """Print a JSON document. What is in it may not steer a terminal."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    typer.echo("\n".join(map(printable, text.split("\n"))))


def listing(rows: Sequence[Mapping[str, Any]], members: Sequence[str], *, as_json: bool) -> None:
    """Print objects: all that is in them for programs, and these members of each for people."""
    if as_json:
        echo_json(rows)
    else:
        show(table(members, ([row[member] for member in members] for row in rows)))


def table(members: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of values under the names of members. Ids are whole; of all else nothing is left out either."""
    made = Table(*map(_column, members))
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def cell(value: object) -> Text:
    """A value for people: nothing for null, what is in a list with commas between, objects as JSON."""
    if isinstance(value, list | tuple):
        return Text(", ".join(str(cell(each)) for each in value))
    if isinstance(value, Mapping):
        return Text(printable(orjson.dumps(value).decode()))
    return Text("" if value is None else printable(str(value)))


def show(made: Table) -> None:
    """Print a table. Where the terminal is too narrow for what must not be cut, its lines are longer: ids are what commands take."""
    console = Console()
    least = Measurement.get(console, console.options.update_width(_ANY_WIDTH), made).minimum
    Console(width=max(console.width, least)).print(made)


def _column(member: str) -> Column:
    is_id = member == "id" or member.endswith("Id")
    return Column(member, no_wrap=True, min_width=36) if is_id else Column(member, overflow="fold")
