"""``hyrelog`` commands as they are typed, on a test's servers, and all of them by their names."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import typer
from typer.main import get_command
from typer.testing import CliRunner, Result

from ops.cli import build
from ops.local.environment import Role, service_environ
from ops.seed import Tenant
from tests.support.managing import Database
from tests.support.stack import LocalStack

# A group has them, without importing click, which Typer may bring along under another name.
_GROUP = "commands"


def commands() -> dict[str, Any]:
    """What each command calls, by the command's words."""
    return dict(_walk(get_command(build()), ()))


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    inner: Mapping[str, Any] = getattr(command, _GROUP, {})
    if words and (not inner or command.invoke_without_command):
        yield " ".join(words), command.callback.__wrapped__
    for name, each in inner.items():
        yield from _walk(each, (*words, name))


def invoke(app: typer.Typer, words: tuple[object, ...], environ: Mapping[str, str]) -> Result:
    """Type a command."""
    return CliRunner().invoke(app, [str(word) for word in words], env=dict(environ))


class Completed(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        """Both streams."""
        return self.out + self.err


def run_here(directory: Path, words: tuple[object, ...], environ: Mapping[str, str]) -> Completed:
    """Run a command in this process, where everything is imported already: in that directory, with nothing else in its environment."""
    kept = {"PATH", "HOME", "LANG", "VIRTUAL_ENV", *environ}
    removed = dict.fromkeys(os.environ.keys() - kept)
    with contextlib.chdir(directory):
        done = CliRunner().invoke(build(), [str(word) for word in words], env={**removed, **environ})
    return Completed(done.exit_code, done.stdout, done.stderr)


@dataclass
class World:
    """A company with what commands are about, in the US region, and somebody to type them."""

    servers: LocalStack
    superuser: Database
    tenant: Tenant
    environ: dict[str, str] = field(default_factory=dict)
    """What the commands are told beside where the stack is."""

    async def run(self, *words: object) -> Result:
        """Type a command."""
        environ = {"HYRELOG_STATE": str(self.servers.state.root), **self.environ}
        return await asyncio.to_thread(invoke, build(), words, environ)

    def as_role(self, role: Role, **more: str) -> None:
        """Work with settings of one role instead of the local stack's."""
        self.environ = service_environ(self.servers.state, role) | {"REGIONS": "US"} | more

    @property
    def workspace(self) -> UUID:
        return self.tenant.workspaces[0].id

    async def key(self) -> UUID:
        """The workspace's key."""
        found: UUID = await self.superuser.fetchval("SELECT id FROM api_key WHERE workspace_id = $1", self.workspace)
        return found

    async def row(self, table: str, id: UUID) -> object:
        """All that a row holds, as text."""
        return await self.superuser.fetchval(f"SELECT t::text FROM {table} t WHERE id = $1", id)

    async def count(self, table: str) -> object:
        """How many rows of the company a table has."""
        return await self.superuser.fetchval(f"SELECT count(*) FROM {table} WHERE company_id = $1", self.tenant.id)

    async def clear(self) -> None:
        """Take away what other tests' jobs and sinks would come by."""
        await self.superuser.execute("DELETE FROM restore_request WHERE company_id = $1", self.tenant.id)
        await self.superuser.execute("DELETE FROM search_dead WHERE workspace_id = $1", self.workspace)

    async def do(self, statement: str, *arguments: object) -> None:
        """Prepare something by hand."""
        await self.superuser.execute(statement, *arguments)


def unique(name: str) -> str:
    """A name that no other test gives."""
    return f"{name} {uuid4().hex}"
