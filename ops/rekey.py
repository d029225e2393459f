"""``hyrelog rekey``: webhooks' secrets and companies' data keys sealed anew under the current keys, so that the previous ones can be
taken away.

Batches commit one by one, each with an entry of the operator's audit, and a row is only written over while it still holds what was
read: killed, it is simply run again; secrets rotated meanwhile stay as their rotation left them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ops import audit, db
from ops.clock import SystemClock
from ops.local.environment import Role, ambient_environ, settings_of
from ops.sealing import Sealer, Unsealable
from ops.settings import Settings
from schemas.topics import REGIONS, Region

_FIRST = UUID(int=0)
# Each goes over what was written under another key since the one before; a process that still does so has to be found.
_MAX_PASSES = 5


class Kind(NamedTuple):
    """Secrets that are sealed for whom they belong to. Its three queries give and take them in the shape of webhooks' pairs."""

    owner: str
    """Whom each belongs to."""
    told: str
    """So many of them, in words."""
    setting: str
    """Under which key."""
    queries: str
    """What the names of the queries end with."""
    sealer: Callable[[Settings], Sealer]


WEBHOOKS = Kind("webhook", "the secrets of {:,} webhooks", "WEBHOOK_SECRET_ENCRYPTION_KEY", "secrets", Sealer.of)
DATA_KEYS = Kind("company", "the data keys of {:,} companies", "ARCHIVE_KEY", "data_keys", Sealer.of_archive)
KINDS = (WEBHOOKS, DATA_KEYS)


@dataclass(slots=True)
class Tally:
    """What became of a region's secrets of one kind."""

    sealed: int = 0
    """How many owners' were sealed anew."""
    left: list[UUID] = field(default_factory=list)
    """Owners that still have a secret under another key: one that is not at hand, or that a process goes on using."""


class _Change(NamedTuple):
    """An owner's two secrets as they are to be, and as they were read."""

    id: UUID
    secret: bytes
    previous: bytes | None
    old_secret: bytes
    old_previous: bytes | None


def register(app: typer.Typer) -> None:
    """Add the command ``rekey``."""
    app.command("rekey")(rekey_command)


def rekey_command(
    batch: Annotated[int, typer.Option(help="Secrets of one transaction.", min=1, max=10_000)] = 500,
) -> None:
    """Seal secrets under WEBHOOK_SECRET_ENCRYPTION_KEY and data keys under ARCHIVE_KEY; what is under …_PREVIOUS opens until then."""
    settings = settings_of(Settings, ambient_environ(Role.ADMIN))
    done = [_seal_all(settings, kind, batch) for kind in KINDS]  # what is left of one kind keeps no other one waiting
    if not all(done):
        raise typer.Exit(code=1)


def _seal_all(settings: Settings, kind: Kind, batch: int) -> bool:
    """All regions' secrets of a kind; whether nothing is left under another key."""
    console = Console(stderr=True)
    tallies = {region: asyncio.run(_watched(settings, region, kind, batch, console)) for region in settings.regions}
    for region, tally in tallies.items():
        typer.echo(f"{region}: {kind.told.format(tally.sealed)} were sealed anew")
        for owner in tally.left:
            typer.echo(f"{region}: {kind.owner} {owner} still has a secret under another key", err=True)
    if any(tally.left for tally in tallies.values()):
        typer.echo(f"Set the key they were sealed with as {kind.setting}_PREVIOUS, everywhere, and run this again.", err=True)
        return False
    if set(settings.regions) == set(REGIONS):
        typer.echo(f"Nothing is under another key: {kind.setting}_PREVIOUS can be unset.")
    return True


async def _watched(settings: Settings, region: Region, kind: Kind, batch: int, console: Console) -> Tally:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(region, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return await rekey(settings, region, kind, batch=batch, advance=advance)


async def rekey(
    settings: Settings, region: Region, kind: Kind, *, batch: int = 500, advance: Callable[[int, int], None] = lambda _done, _total: None
) -> Tally:
    """Seal the region's secrets of a kind anew, ``batch`` owners a transaction; ``advance`` is told how many are done, and of how many."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-rekey", region=region, max_size=1)
    async with pool, pool.acquire() as connection:
        work = _Rekeying(connection, region, kind, kind.sealer(settings), batch, advance)
        for _ in range(_MAX_PASSES):
            if not await work.go_over_all():
                break
        return Tally(work.done, await work.left())


class _Rekeying:
    """The work on one region."""

    def __init__(
        self, connection: db.Connection, region: Region, kind: Kind, sealer: Sealer, batch: int, advance: Callable[[int, int], None]
    ) -> None:
        self.done = 0
        self._connection = connection
        self._region = region
        self._kind = kind
        self._sealer = sealer
        self._batch = batch
        self._advance = advance
        self._queries = db.load_queries("ops")

    async def left(self) -> list[UUID]:
        """The owners that have a secret under another key."""
        return [row["id"] for row in await self._page(_FIRST, None)]

    async def go_over_all(self) -> bool:
        """One pass over what is under other keys; whether there may be something for another one."""
        total = self.done + await self._connection.fetchval(self._queries[f"count_stale_{self._kind.queries}"], self._sealer.key_id)
        after, changed = _FIRST, False
        while rows := await self._page(after, self._batch):
            changes = [change for row in rows if (change := self._change(row)) is not None]
            if changes:
                changed = True
                self.done += await self._write(changes)
            self._advance(self.done, total)
            after = rows[-1]["id"]
        return changed

    async def _page(self, after: UUID, limit: int | None) -> list[db.Row]:
        return await self._connection.fetch(self._queries[f"stale_{self._kind.queries}"], after, self._sealer.key_id, limit)

    def _change(self, row: db.Row) -> _Change | None:
        """The row sealed anew; ``None`` when a secret of it can't be opened."""
        try:
            secret, previous = (None if sealed is None else self._resealed(sealed, str(row["id"])) for sealed in row[1:])
        except Unsealable:
            return None
        return None if secret is None else _Change(row["id"], secret, previous, row["secret"], row["previous_secret"])

    def _resealed(self, sealed: bytes, owner: str) -> bytes:
        return self._sealer.seal(self._sealer.open(sealed, owner), owner)

    async def _write(self, changes: list[_Change]) -> int:
        """In one transaction with its entry; how many rows still held what was read."""
        async with self._connection.transaction():
            written = await self._connection.fetch(self._queries[f"replace_{self._kind.queries}"], *map(list, zip(*changes, strict=True)))
            if written:
                await self._tell(len(written))
        return len(written)

    async def _tell(self, sealed: int) -> None:
        target = {"type": "region", "id": self._region.value}
        entry = audit.by_operator(f"{self._kind.owner}.rekey", target, {"secrets": sealed})
        await audit.write(self._connection, entry, region=self._region, company_id=None, now=SystemClock().micros())
