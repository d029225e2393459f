"""``hyrelog tail``: events as they happen. Exits 0 after ``--limit`` events, 1 when the API refuses, 2 when the command can't be meant,
130 on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import orjson
import typer

from ops.client import INTERRUPTED, KEYS, Refused, access, standard_error, teller
from ops.clock import SystemClock
from ops.local.state import write_private
from ops.tail.parser import Message
from ops.tail.show import Lines
from ops.tail.stream import TIMEOUT, Source, Tail
from schemas.event import format_time
from schemas.keys import Scope, parse_key

EVENT: Final = "audit-event"
GAP: Final = "gap"
_AGO = re.compile(r"(\d{1,6})([smhd])").fullmatch
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Filter = Annotated[str | None, typer.Option(rich_help_panel="Filters", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command ``tail``."""
    app.command("tail")(tail)


def tail(
    url: Annotated[str | None, typer.Option(help="The API; the local stack's when not given.", envvar="HYRELOG_URL")] = None,
    key: Annotated[str | None, typer.Option(help="Better in the environment, where no list of processes shows it.", envvar=KEYS)] = None,
    since: Annotated[str | None, typer.Option(help="Begin so long ago (15m, 2h, 1d) or at that time (RFC 3339).")] = None,
    last_event_id: Annotated[str | None, typer.Option(help="Begin behind this position.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Keep the position in this file, and begin there if it is there already.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One event a line, as the API tells it.")] = False,
    category: Filter = None,
    action: Filter = None,
    outcome: Filter = None,
    workspace_id: Filter = None,
    project_id: Filter = None,
    tenant_id: Filter = None,
    actor_id: Filter = None,
    actor_email: Filter = None,
    resource_type: Filter = None,
    resource_id: Filter = None,
    trace_id: Filter = None,
    q: Filter = None,
    start: Annotated[str | None, typer.Option("--from", rich_help_panel="Filters", show_default=False)] = None,
    end: Annotated[str | None, typer.Option("--to", rich_help_panel="Filters", show_default=False)] = None,
    received_from: Filter = None,
    received_to: Filter = None,
) -> None:
    """Show events as they happen. Filters are those of `GET /v1/events`: action may end with .* and q holds words.

    A connection that breaks is made again, and goes on where it ended. A position is good for the key's company and workspace, with any
    filters.
    """
    filters = {
        "category": category,
        "action": action,
        "outcome": outcome,
        "workspaceId": workspace_id,
        "projectId": project_id,
        "tenantId": tenant_id,
        "actorId": actor_id,
        "actorEmail": actor_email,
        "resourceType": resource_type,
        "resourceId": resource_id,
        "traceId": trace_id,
        "q": q,
        "from": start,
        "to": end,
        "receivedFrom": received_from,
        "receivedTo": received_to,
    }
    if last_event_id and (since or resume):
        raise typer.BadParameter("--last-event-id says where to begin: it goes with neither --since nor --resume")
    source = Source(access(url, key), {name: value for name, value in filters.items() if value is not None})
    kept = resume.read_text().strip() if resume and resume.exists() else ""
    lines = Lines(sys.stdout.buffer, as_json=as_json, has_workspaces=parse_key(source.access.key).scope is Scope.COMPANY)
    follower = Follower(source, lines, teller(standard_error()), resume, limit)
    raise typer.Exit(follower.run(last_event_id or kept, since and begin_at(since)))


@dataclass(slots=True)
class Follower:
    """Shows a tail, and remembers how far it has come."""

    source: Source
    lines: Lines
    say: Callable[[str], None]
    file: Path | None = None
    """Where the position is kept."""
    left: int | None = None
    """Events that are still to be shown; ``None``: all there will be."""
    position: str = ""

    def run(self, position: str, since: str | None) -> int:
        """Follow until told to stop. Returns the command's exit code."""
        self.position = position
        try:
            asyncio.run(self._follow(since))
        except Refused as error:
            self.say(str(error))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain of it once more at its exit
            return 0
        except KeyboardInterrupt:
            if hint := self._hint():
                self.say(hint)
            return INTERRUPTED
        else:
            return 0
        return 1

    async def _follow(self, since: str | None) -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT, headers={"User-Agent": "hyrelog-tail"}) as session:
            tailing = Tail(session, self.source, self.say, position=self.position, since=since)
            async with aclosing(tailing.batches()) as batches:
                async for messages, position in batches:
                    shown = self._within_limit(messages)
                    try:
                        self._show(shown)
                    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
                        raise Refused("what the server sends is no event of HyreLog's") from None
                    self._keep(shown[-1].id if len(shown) < len(messages) else position)
                    if self.left == 0:
                        return

    def _within_limit(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Those up to the last event that is still to be shown."""
        if self.left is None:
            return messages
        for at, message in enumerate(messages, 1):
            self.left -= message.event == EVENT
            if self.left == 0:
                return messages[:at]
        return messages

    def _show(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.event == GAP:
                self.say(_gap(orjson.loads(message.data)))
        self.lines.write(message.data for message in messages if message.event == EVENT)

    def _keep(self, position: str) -> None:
        """Once it is shown, so that whatever ends us is made good by showing something twice."""
        self.position = position
        if self.file:
            write_private(self.file, f"{position}\n")

    def _hint(self) -> str:
        if self.file:
            return "stopped; the same command goes on from here"
        return f"stopped; --last-event-id {self.position} goes on from here" if self.position else ""


def _gap(gap: Any) -> str:
    return (
        f"events {gap['fromSeq']} to {gap['toSeq']} of workspace {gap['workspaceId']} can't be had here any more: they are in the archive"
    )


def begin_at(text: str) -> str:
    """``15m`` and its like as a time; any other text is for the API to judge."""
    found = _AGO(text)
    if found is None:
        return text
    ago = timedelta(**{_UNITS[found[2]]: int(found[1])})
    return format_time(SystemClock().micros() - ago // timedelta(microseconds=1))
