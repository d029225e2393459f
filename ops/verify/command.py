"""``hyrelog verify``: is every chain whole? Exits 0 when all are, 1 when one isn't, 2 when it can't tell, 3 when there is no such chain.

Given files, it looks at those instead, and needs nothing else: no settings, no database, no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from ops import db
from ops.collector import calm_collector
from ops.kafka import KafkaError
from ops.local.environment import Role, ambient_environ, settings_of
from ops.printable import printable
from ops.settings import Settings
from ops.verify.checked import Verdict, contradictions
from ops.verify.files import check
from ops.verify.postgres import Advance, Auditor
from ops.verify.report import Report, sentence
from ops.verify.topic import walk_topic
from schemas.topics import Region


class Outcome(Enum):
    """What can be said of a region; the worst one says how the command exits."""

    BROKEN = 1
    UNKNOWN = 2
    INTACT = 0
    NOT_HERE = 3


def register(app: typer.Typer) -> None:
    """Add the command ``verify``."""
    app.command("verify")(verify)


def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Exports and archives, also .gz and .zst.", show_default=False)
    ] = None,
    region: Annotated[
        list[Region] | None, typer.Option(help="Only this region; may be given more than once.", case_sensitive=False)
    ] = None,
    workspace: Annotated[UUID | None, typer.Option(help="Only this workspace.")] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Walk the events topic instead, and compare it with Postgres.")] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="The export's manifest, when it isn't FILE.manifest.json.", rich_help_panel="Files")
    ] = None,
    filtered: Annotated[
        bool, typer.Option("--filtered", help="The export was filtered: check its events, not a chain.", rich_help_panel="Files")
    ] = False,
) -> None:
    """Recompute every commitment, leaf and link, and compare the heads.

    Positions in the ingest topic are on no chain: of them, only the order is checked. A chain that is gone with its head
    leaves no trace in Postgres; `--topic` shows it as long as the topic holds it.

    With FILE: check exports and archive objects offline, and name the first bad line of each.
    """
    if files:
        if region or workspace or topic:
            raise typer.BadParameter("files are checked by themselves: --region, --workspace and --topic don't go with them")
        if manifest and len(files) > 1:
            raise typer.BadParameter("--manifest is that of one file")
        raise typer.Exit(verify_files(files, manifest=manifest, filtered=filtered).value)
    if manifest or filtered:
        raise typer.BadParameter("--manifest and --filtered are about a FILE")
    settings = settings_of(Settings, ambient_environ(Role.AUDITOR))
    console = Console(stderr=True)
    calm_collector()
    outcomes = {uvloop.run(_region(settings, one, workspace, topic, console)) for one in region or settings.regions}
    outcome = next(one for one in Outcome if one in outcomes)
    if outcome is Outcome.NOT_HERE:
        typer.echo(f"workspace {workspace} has no chain here", err=True)
    raise typer.Exit(outcome.value)


def verify_files(files: list[Path], *, manifest: Path | None = None, filtered: bool = False) -> Outcome:
    """Check files and print what there is to say of each. Returns what can be said of them all."""
    console = Console(stderr=True)
    calm_collector()
    several = []
    for path in files:
        with _progress(console, path.name, DownloadColumn()) as begin:
            checked = check(path, manifest=manifest, filtered=filtered, advance=begin(path.stat().st_size if path.is_file() else 0))
        _tell(console, checked.sentences())
        for line in checked.summary():
            typer.echo(printable(line))
        several.append(checked)
    contradicting = list(contradictions(several))
    _tell(console, contradicting)
    outcomes = {_OF_VERDICT[checked.verdict] for checked in several} | {Outcome.BROKEN for _ in contradicting}
    return next(one for one in Outcome if one in outcomes)


def _tell(console: Console, findings: Iterable[str]) -> None:
    for finding in findings:
        console.print(printable(finding), style="red", highlight=False, markup=False, soft_wrap=True)


_OF_VERDICT = {Verdict.INTACT: Outcome.INTACT, Verdict.BROKEN: Outcome.BROKEN, Verdict.UNKNOWN: Outcome.UNKNOWN}


async def _region(settings: Settings, region: Region, workspace: UUID | None, topic: bool, console: Console) -> Outcome:
    started = time.perf_counter()
    report = Report(lambda finding: console.print(sentence(finding), style="red", highlight=False, soft_wrap=True))
    with _progress(console, str(region)) as begin:
        try:
            await (walk_topic if topic else walk_postgres)(settings, region, report, begin, workspace)
        except Exception as error:
            if not (db.is_unavailable(error) or isinstance(error, (db.WrongRegion, KafkaError))):
                raise
            console.print(f"{region}: can't tell: {error}", style="yellow")
            return Outcome.UNKNOWN
    seconds = time.perf_counter() - started
    if workspace is not None and not report.workspaces and not report.found:
        return Outcome.NOT_HERE
    verdict = f"NOT intact, {report.found} findings" if report.found else "intact"
    repeats = f", {report.repeats:,} repeats" if topic else ""
    walked = f"{report.events:,} events of {report.workspaces:,} workspaces{repeats} in {seconds:.1f} s ({report.events / seconds:,.0f}/s)"
    typer.echo(f"{region}: {walked}: {verdict}")
    return Outcome.BROKEN if report.found else Outcome.INTACT


async def walk_postgres(
    settings: Settings, region: Region, report: Report, begin: Callable[[int], Advance], workspace: UUID | None
) -> None:
    """Walk the region's chains as they are stored."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-verify", region=region, max_size=1)
    async with pool, pool.acquire() as connection:
        await Auditor(connection, region, report, workspace).run(begin)


@contextmanager
def _progress(console: Console, name: str, done: ProgressColumn | None = None) -> Iterator[Callable[[int], Advance]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), done or MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def begin(total: int) -> Advance:
            task = bar.add_task(name, total=total)
            return lambda count: bar.advance(task, count)

        yield begin
