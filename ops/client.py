"""What the clients of the API among the commands share: where to go with which key, and what an answer that is none says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson
import typer
from rich.console import Console

from ops.local.envfile import FILE, read_env
from ops.local.state import default_root
from ops.printable import printable
from schemas.keys import parse_key
from schemas.webhooks import parse_retry_after

KEYS: Final = ("HYRELOG_WORKSPACE_KEY", "HYRELOG_COMPANY_KEY")
INTERRUPTED: Final = 130
"""How a command exits on Ctrl-C."""
CONNECT_SECONDS: Final = 10.0
_TOLD_BYTES = 64 << 10
_LONGEST_RETRY_AFTER_SECONDS = 600.0
_TRY_AGAIN = frozenset((408, 425, 429))


class Refused(Exception):
    """This won't be served, however often it is asked for. The message says why, in the server's words if it has any."""


class Interrupted(Exception):
    """The connection did not come about, or broke. Another try may do better, after so many seconds at least."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Access:
    """The API's URL, and a key."""

    url: str
    key: str = field(repr=False)

    def route(self, path: str) -> str:
        """A route's URL."""
        return self.url.rstrip("/") + path

    @property
    def authorization(self) -> dict[str, str]:
        """The header."""
        return {"Authorization": f"Bearer {self.key}"}


def access(url: str | None, key: str | None) -> Access:
    """What was given, else the local stack's; of its two keys, that of its workspace. Raises ``typer.BadParameter``."""
    local = {} if url else _local_stack()
    url, key = url or local.get("HYRELOG_URL"), key or local.get(KEYS[0])
    if not url or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise typer.BadParameter("--url or HYRELOG_URL must give the API's http(s) URL")
    if not key:
        raise typer.BadParameter(f"--key, {KEYS[0]} or {KEYS[1]} must give an API key")
    try:
        parse_key(key)
    except ValueError as error:
        raise typer.BadParameter(f"--key: {error}") from None
    return Access(url, key)


def _local_stack() -> dict[str, str]:
    file = default_root() / FILE
    return read_env(file) if file.exists() else {}


def standard_error() -> Console:
    """Where sentences and progress go. One for both, or they would overwrite each other."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def teller(console: Console) -> Callable[[str], None]:
    """Says sentences there."""
    return lambda sentence: console.print(f"hyrelog: {printable(sentence)}", style="yellow")


async def refuse(answer: aiohttp.ClientResponse, now: int) -> None:
    """Raise ``Refused`` or ``Interrupted`` for an answer that is not what was asked for; ``now`` is in microseconds since 1970."""
    said = await _told(answer)
    if answer.status in _TRY_AGAIN or answer.status >= 500:
        seconds = parse_retry_after(answer.headers.get("Retry-After"), now) or 0.0
        raise Interrupted(said, min(seconds, _LONGEST_RETRY_AFTER_SECONDS))
    raise Refused(said)


async def _told(answer: aiohttp.ClientResponse) -> str:
    """What the server says of itself: the sentence of an error's body and what it names, else the status."""
    body = b""
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _TOLD_BYTES:
            break
    status = f"{answer.status} {answer.reason}"
    try:
        parsed = orjson.loads(body)
        details = "".join(f"; {each.get('field', '')}: {each['message']}" for each in parsed.get("details", ()))
        archives = "".join(f" {each}" for each in parsed.get("archiveIds", ()))
        return f"{status}: {parsed['error']}{details}{archives and f'; archives{archives}'}"
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return f"{status}, which is no answer of HyreLog's"
