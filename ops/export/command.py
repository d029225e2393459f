"""``hyrelog export``: exits 0 when the file is whole, 1 when the API refuses, 2 when the command can't be meant, 130 on Ctrl-C.

With ``--verify`` it then exits as ``hyrelog verify FILE`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from ops.client import INTERRUPTED, KEYS, Access, Refused, access, standard_error, teller
from ops.export.api import TIMEOUT, Api
from ops.export.fetch import Fetch
from ops.export.part import Part
from ops.verify.command import verify_files

_FIELDS: Final = ("from", "to")
"""Of a request's own, though queries have them among their filters."""


class Source(StrEnum):
    """Where events are taken from."""

    HOT = "HOT"
    ARCHIVED = "ARCHIVED"
    HOT_AND_ARCHIVED = "HOT_AND_ARCHIVED"


class Format(StrEnum):
    """How they are written."""

    JSONL = "JSONL"
    CSV = "CSV"
    PARQUET = "PARQUET"


def register(app: typer.Typer) -> None:
    """Add the command ``export``."""
    app.command("export")(export)


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file. Unfinished, it is FILE.part.", show_default=False)],
    source: Annotated[Source, typer.Option(case_sensitive=False)] = Source.HOT,
    format: Annotated[Format, typer.Option(case_sensitive=False, help="JSONL can be verified, event by event.")] = Format.JSONL,
    start: Annotated[str | None, typer.Option("--from", help="From this timestamp on (RFC 3339).", show_default=False)] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to this timestamp (exclusive).", show_default=False)] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="As in `GET /v1/events`; may be given more than once.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at most.", show_default=False)] = None,
    csv_raw: Annotated[bool, typer.Option("--csv-raw", help="Leave cells as they are that a spreadsheet takes for formulas.")] = False,
    no_verification: Annotated[bool, typer.Option("--no-verification", help="Smaller lines, which can't be verified.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Run `hyrelog verify` on the file in the end.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    url: Annotated[str | None, typer.Option(help="The API; the local stack's when not given.", envvar="HYRELOG_URL")] = None,
    key: Annotated[str | None, typer.Option(help="Better in the environment, where no list of processes shows it.", envvar=KEYS)] = None,
) -> None:
    """Export events into a file, and its manifest into FILE.manifest.json.

    A download that breaks is gone on with where it ended, also by the same command run again. What has come is compared with the manifest:
    rows, bytes and SHA-256.
    """
    asked = _asked(source, format, start, end, filters or (), limit, csv_raw=csv_raw, verification=not no_verification)
    where = access(url, key)
    if output.is_dir():
        raise typer.BadParameter(f"--output: {output} is a directory: name a file")
    if output.exists() and not force:
        raise typer.BadParameter(f"{output} is there already: --force replaces it")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"--output: there is no directory {output.parent}")
    code = _run(where, asked, output)
    raise typer.Exit(verify_files([output]).value if verify and code == 0 else code)


def _asked(
    source: Source, format: Format, start: str | None, end: str | None, filters: Sequence[str], limit: int | None,
    *, csv_raw: bool, verification: bool,
) -> dict[str, Any]:  # fmt: skip
    """The body of the request. Raises ``typer.BadParameter``."""
    named: dict[str, str] = {}
    for each in filters:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--filter {each}: it has to be NAME=VALUE")
        if name in _FIELDS:
            raise typer.BadParameter(f"--filter {each}: use --{name}")
        if name in named:
            raise typer.BadParameter(f"--filter {each}: {name} was given before")
        named[name] = value
    asked: dict[str, Any] = {"source": source.value, "format": format.value}
    given = {"filters": named, "from": start, "to": end, "limit": limit, "csvRaw": csv_raw}
    asked |= {name: value for name, value in given.items() if value}
    return asked if verification else asked | {"verification": False}


def _run(where: Access, asked: dict[str, Any], output: Path) -> int:
    console = standard_error()
    say = teller(console)
    try:
        manifest = asyncio.run(_fetch(where, asked, output, console))
    except Refused as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.filename or output}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return INTERRUPTED
    cut = ", cut at its limit: there were more" if manifest.get("truncated") else ""
    typer.echo(f"{output}: {int(manifest['rows']):,} events, {int(manifest['bytes']):,} bytes, SHA-256 {manifest['sha256']}{cut}")
    return 0


async def _fetch(where: Access, asked: dict[str, Any], output: Path, console: Console) -> dict[str, Any]:
    session = aiohttp.ClientSession(timeout=TIMEOUT, headers={"User-Agent": "hyrelog-export"}, auto_decompress=False)
    with Part(output, asked["format"]) as part, _progress(output.name, console) as show:
        async with session:
            return await Fetch(Api(session, where), part, where.url.rstrip("/"), asked, say=teller(console), show=show).run()


@contextmanager
def _progress(name: str, console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """How many rows there will be, nobody knows beforehand."""
    columns = (
        TextColumn("{task.description}", markup=False),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, rows="")

        def show(size: int, rows: int | None) -> None:
            bar.update(task, completed=size, rows="" if rows is None else f"{rows:,} rows")

        yield show
