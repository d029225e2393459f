"""``hyrelog rekey``: webhooks' secrets sealed anew under the current key, so that the previous one can be taken away.

Batches commit one by one, each with an entry of the operator's audit, and a row is only written over while it still holds what was
read: killed, it is simply run again; secrets rotated meanwhile stay as their rotation left them.
"""

from __future__ import annotations

import asyncio
import getpass
import secrets
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
from schemas.audit import Entry, Outcome
from schemas.topics import REGIONS, Region

_FIRST = UUID(int=0)
# Each goes over what was written under another key since the one before; a process that still does so has to be found.
_MAX_PASSES = 5


@dataclass(slots=True)
class Tally:
    """What became of a region's secrets."""

    webhooks: int = 0
    """Whose secrets were sealed anew."""
    left: list[UUID] = field(default_factory=list)
    """Webhooks that still have a secret under another key: one that is not at hand, or that a process goes on using."""


class _Change(NamedTuple):
    """A webhook's two secrets as they are to be, and as they were read."""

    id: UUID
    secret: bytes
    previous: bytes | None
    old_secret: bytes
    old_previous: bytes | None


def register(app: typer.Typer) -> None:
    """Add the command ``rekey``."""
    app.command("rekey")(rekey_command)


def rekey_command(
    batch: Annotated[int, typer.Option(help="Webhooks of one transaction.", min=1, max=10_000)] = 500,
) -> None:
    """Seal webhooks' secrets under WEBHOOK_SECRET_ENCRYPTION_KEY; what is under …_PREVIOUS opens until then."""
    settings = settings_of(Settings, ambient_environ(Role.ADMIN))
    console = Console(stderr=True)
    tallies = {region: asyncio.run(_watched(settings, region, batch, console)) for region in settings.regions}
    for region, tally in tallies.items():
        typer.echo(f"{region}: the secrets of {tally.webhooks:,} webhooks were sealed anew")
        for webhook in tally.left:
            typer.echo(f"{region}: webhook {webhook} still has a secret under another key", err=True)
    if any(tally.left for tally in tallies.values()):
        typer.echo("Set the key they were sealed with as WEBHOOK_SECRET_ENCRYPTION_KEY_PREVIOUS, everywhere, and run this again.", err=True)
        raise typer.Exit(code=1)
    if set(settings.regions) == set(REGIONS):
        typer.echo("Nothing is under another key: WEBHOOK_SECRET_ENCRYPTION_KEY_PREVIOUS can be unset.")


async def _watched(settings: Settings, region: Region, batch: int, console: Console) -> Tally:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(region, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return await rekey(settings, region, batch=batch, advance=advance)


async def rekey(
    settings: Settings, region: Region, *, batch: int = 500, advance: Callable[[int, int], None] = lambda _done, _total: None
) -> Tally:
    """Seal the region's secrets anew, ``batch`` webhooks a transaction; ``advance`` is told how many are done, and of how many."""
    pool = await db.open_pool(settings.database_url(region), application_name="hyrelog-rekey", region=region, max_size=1)
    async with pool, pool.acquire() as connection:
        work = _Rekeying(connection, region, Sealer.of(settings), batch, advance)
        for _ in range(_MAX_PASSES):
            if not await work.go_over_all():
                break
        return Tally(work.done, await work.left())


class _Rekeying:
    """The work on one region."""

    def __init__(self, connection: db.Connection, region: Region, sealer: Sealer, batch: int, advance: Callable[[int, int], None]) -> None:
        self.done = 0
        self._connection = connection
        self._region = region
        self._sealer = sealer
        self._batch = batch
        self._advance = advance
        self._queries = db.load_queries("ops")

    async def left(self) -> list[UUID]:
        """The webhooks that have a secret under another key."""
        return [row["id"] for row in await self._page(_FIRST, None)]

    async def go_over_all(self) -> bool:
        """One pass over what is under other keys; whether there may be something for another one."""
        total = self.done + await self._connection.fetchval(self._queries["count_stale_secrets"], self._sealer.key_id)
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
        return await self._connection.fetch(self._queries["stale_secrets"], after, self._sealer.key_id, limit)

    def _change(self, row: db.Row) -> _Change | None:
        """The row sealed anew; ``None`` when a secret of it can't be opened."""
        try:
            secret, previous = (None if sealed is None else self._resealed(sealed, str(row["id"])) for sealed in row[1:])
        except Unsealable:
            return None
        return None if secret is None else _Change(row["id"], secret, previous, row["secret"], row["previous_secret"])

    def _resealed(self, sealed: bytes, webhook: str) -> bytes:
        return self._sealer.seal(self._sealer.open(sealed, webhook), webhook)

    async def _write(self, changes: list[_Change]) -> int:
        """In one transaction with its entry; how many rows still held what was read."""
        async with self._connection.transaction():
            written = await self._connection.fetch(self._queries["replace_secrets"], *map(list, zip(*changes, strict=True)))
            if written:
                await self._tell(len(written))
        return len(written)

    async def _tell(self, webhooks: int) -> None:
        actor = {"id": getpass.getuser(), "type": "operator"}
        target, detail = {"type": "region", "id": self._region.value}, {"webhooks": webhooks}
        entry = Entry("webhook.rekey", Outcome.SUCCESS, actor, secrets.token_hex(16), target, detail)
        await audit.write(self._connection, entry, region=self._region, company_id=None, now=SystemClock().micros())
