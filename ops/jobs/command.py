"""``hyrelog scheduler``, which runs the jobs, and ``hyrelog jobs``, which shows them or runs one by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any

import typer
from prometheus_client import CollectorRegistry
from rich.table import Column, Table

from ops import health, log
from ops.clock import SystemClock
from ops.faults import FaultPoints
from ops.jobs.by_hand import Refused, run_once, standings
from ops.jobs.ledger import Result, Standing
from ops.jobs.registry import JOBS
from ops.jobs.scheduler import RegionScheduler
from ops.local.environment import Role, ambient_environ, settings_of
from ops.metrics import Metrics
from ops.output import AsJson, echo_json, show
from ops.regions import Regions, from_each, is_away, reason
from ops.serve import serving, stop_on_signal
from ops.settings import Settings
from schemas.event import format_time, to_micros
from schemas.topics import Region

_GRACE_SECONDS = 20.0


def register(app: typer.Typer) -> None:
    """Add the commands ``scheduler`` and ``jobs``."""
    app.command("scheduler")(scheduler)
    app.add_typer(group(), name="jobs")


def group() -> typer.Typer:
    """The jobs' commands; without one, they are shown."""
    jobs = typer.Typer(invoke_without_command=True, help="What runs daily and weekly: how it stands, and running it by hand.")
    jobs.callback()(show_jobs)
    jobs.command("show")(show_jobs)
    jobs.command("run")(run_by_hand)
    return jobs


def scheduler() -> None:
    """Run the jobs of all served regions when they are due, until SIGTERM; any number of these may run."""
    settings = settings_of(Settings, ambient_environ(Role.SCHEDULER))
    log.configure(settings.log_level, "scheduler")
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Every region beside the others, and health and metrics. What a sudden end leaves behind is begun again."""
    stop = asyncio.Event()
    stop_on_signal(stop, grace=_GRACE_SECONDS)
    metrics, clock, faults = Metrics(CollectorRegistry()), SystemClock(), FaultPoints(settings.fault_points)
    regions = [RegionScheduler(settings, region, JOBS, metrics=metrics, clock=clock, faults=faults) for region in settings.regions]
    checks: dict[str, health.Check] = {f"scheduler {each.region}": each.check for each in regions}
    app = health.create_app(settings, health.Health("hyrelog-scheduler", checks, clock), metrics)
    async with AsyncExitStack() as exits:
        for each in regions:
            await exits.enter_async_context(each)
        await exits.enter_async_context(serving(app, host=settings.http_host, port=settings.scheduler_http_port))
        await stop.wait()


def show_jobs(context: typer.Context, region: Regions = None, as_json: AsJson = False) -> None:
    """Show every job's schedule, last run, result and duration, and when it runs next."""
    if context.invoked_subcommand is not None:
        return
    settings, clock = settings_of(Settings, ambient_environ(Role.SCHEDULER)), SystemClock()
    found, is_whole = from_each(region or settings.regions, lambda each: asyncio.run(standings(settings, each, clock=clock)))
    now = clock.micros()
    if as_json:
        echo_json([_members(each, standing, now) for each, standing in found])
    else:
        show(_table(found, now))
    raise typer.Exit(0 if is_whole else 1)


def run_by_hand(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=f"Of {', '.join(JOBS)}.")],
    region: Regions = None,
    as_of: Annotated[
        str | None, typer.Option(help="Work as if it were that time (2026-01-31T00:00:00Z); on a demo's database only.")
    ] = None,
) -> None:
    """Run a job here and now, or several one after the other, recorded as by hand; exits 1 at the first one that fails, or that somebody
    else runs.
    """
    for name in names:
        if name not in JOBS:
            raise typer.BadParameter(f"there is no job {name}; there are {', '.join(JOBS)}", param_hint="NAME")
    time = None if as_of is None else _time(as_of)
    settings = settings_of(Settings, ambient_environ(Role.SCHEDULER))
    for name in names:
        outcomes = [asyncio.run(_run(settings, each, name, time)) for each in region or settings.regions]
        if not all(outcomes):
            raise typer.Exit(1)


def _time(text: str) -> int:
    try:
        return to_micros(datetime.fromisoformat(text))
    except (ValueError, TypeError):  # the latter without an offset
        raise typer.BadParameter("is no time with an offset, such as 2026-01-31T00:00:00Z", param_hint="--as-of") from None


async def _run(settings: Settings, region: Region, name: str, as_of: int | None) -> bool:
    """Run it in one region and say how it went; whether it went well."""
    try:
        ending = await run_once(settings, region, name, clock=SystemClock(), as_of=as_of)
    except Refused as error:
        typer.echo(f"{region} {name}: {error}", err=True)
        return False
    except Exception as error:
        if not is_away(error):
            raise
        typer.echo(f"{region} {name}: can't tell: {reason(error)}", err=True)
        return False
    is_good = ending.result is Result.SUCCEEDED
    typer.echo(f"{region} {name}: {ending.result}: {_words(ending.detail)}", err=not is_good)
    return is_good


def _table(found: list[tuple[Region, Standing]], now: int) -> Table:
    names = ("schedule (UTC)", "last run", "result", "took", "next run", "detail")
    # A name that is cut, or in pieces, can't be copied; of all else nothing is left out either.
    table = Table("region", Column("job", no_wrap=True), *(Column(name, overflow="fold") for name in names))
    for region, each in found:
        running = each.is_running(now)
        since = each.running_since or now
        table.add_row(
            region,
            each.name,
            each.schedule,
            _second(since if running else each.last_started_at),
            "running" if running else (each.last_result or "").lower(),
            _duration(now - since) if running else _took(each),
            "" if running else _second(each.next_run_at),
            f"by {each.holder}" if running else _words(each.last_detail or {}),
        )
    return table


def _members(region: Region, each: Standing, now: int) -> dict[str, Any]:
    running = each.is_running(now)
    return {
        "region": region.value,
        "name": each.name,
        "schedule": each.schedule,
        "running": {"holder": each.holder, "since": _time_of(each.running_since)} if running else None,
        "lastRunAt": _time_of(each.last_started_at),
        "lastFinishedAt": _time_of(each.last_finished_at),
        "lastResult": each.last_result,
        "lastSuccessAt": _time_of(each.last_success_at),
        "nextRunAt": _time_of(each.next_run_at),
        "detail": each.last_detail,
    }


def _words(detail: Mapping[str, Any]) -> str:
    """``parts 3, events 1,200``; what an error says stands last, alone."""
    counts = ", ".join(f"{name} {value:,}" for name, value in detail.items() if isinstance(value, int))
    return ". ".join(filter(None, (counts, detail.get("error", "")))) or "nothing to do"


def _took(each: Standing) -> str:
    return "" if each.last_started_at is None or each.last_finished_at is None else _duration(each.last_finished_at - each.last_started_at)


def _duration(micros: int) -> str:
    seconds = micros / 1e6
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _second(micros: int | None) -> str:
    return "" if micros is None else format_time(micros)[:19].replace("T", " ")


def _time_of(micros: int | None) -> str | None:
    return None if micros is None else format_time(micros)
