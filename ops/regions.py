"""Commands that ask all regions: one that can't answer is named, and keeps nobody from the answers of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import psycopg
import typer

from ops import db, failures
from schemas.topics import Region

Found = TypeVar("Found")
Regions = Annotated[
    list[Region] | None, typer.Option("--region", help="Only this region; may be given more than once.", case_sensitive=False)
]


def from_each(
    regions: Sequence[Region], ask: Callable[[Region], Iterable[Found]], *, away: tuple[type[Exception], ...] = ()
) -> tuple[list[tuple[Region, Found]], bool]:
    """What the regions have, and whether all of them answered. One that does not is told on stderr.

    ``away`` are errors that say so too, beside those of a database.
    """
    found: list[tuple[Region, Found]] = []
    is_whole = True
    for region in regions:
        try:
            found += [(region, each) for each in ask(region)]
        except Exception as error:
            if not (is_away(error) or isinstance(error, away)):
                raise
            is_whole = False
            typer.echo(f"{region}: can't tell: {reason(error)}", err=True)
    return found, is_whole


def find_in(regions: Sequence[Region], ask: Callable[[Region], Iterable[Found]], what: str) -> tuple[Region, Found]:
    """What one region has, and which. The others need not answer. Exits with 1 when none has it that does."""
    answered = []
    for region in regions:
        found, is_whole = from_each((region,), ask)
        if found:
            return found[0]
        answered += [region] if is_whole else []
    typer.echo(f"hyrelog: there is no {what} in {', '.join(answered)}" if answered else "hyrelog: no region could be asked", err=True)
    raise typer.Exit(1)


def is_away(error: Exception) -> bool:
    """Whether the region's database can't answer, or is none of its."""
    return isinstance(error, psycopg.OperationalError | db.WrongRegion) or db.is_unavailable(error)


def reason(error: Exception) -> str:
    """Why a region can't answer, in a line: what a driver says of a connection has nobody's data in it."""
    return str(error).partition("\n")[0] if isinstance(error, psycopg.OperationalError) else failures.summary(error)
