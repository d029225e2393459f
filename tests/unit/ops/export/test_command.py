"""``hyrelog export``: what it prints and exits with; where it is killed or interrupted, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import build
from schemas.keys import Scope, make_key
from schemas.topics import Region
from tests.support.commanding import Completed, run_here
from tests.support.export_server import ExportServer, Serving, export_server_of, problem, serving
from tests.unit.ops.export.test_fetch import LINES

KEY = make_key(Region.US, Scope.WORKSPACE, bytes(24))
ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def command(directory: Path, server: ExportServer, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, with nothing in its environment that it was not given."""
    names = {"PATH", "HOME", "LANG", "VIRTUAL_ENV"} & os.environ.keys()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "export", *words),
        env={name: os.environ[name] for name in names} | access(server) | {"PYTHONPATH": str(ROOT)},
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(directory: Path, server: ExportServer, *words: str) -> Completed:
    return await asyncio.to_thread(run_here, directory, ("export", *words), access(server))


def access(server: ExportServer) -> dict[str, str]:
    return {"HYRELOG_URL": server.url, "HYRELOG_WORKSPACE_KEY": KEY, "COLUMNS": "500"}


async def test_killed_and_run_again_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    lines = LINES * 1000  # 20 MB: more than what a process may lose of what it has not flushed
    async with serving(export_server_of(lines)) as server:
        server.downloads = [Serving(16 << 20, "hold")]
        async with command(tmp_path, server, "-o", "x.jsonl") as process:
            await server.held.wait()
            while not (tmp_path / "x.jsonl.part").exists() or (tmp_path / "x.jsonl.part").stat().st_size < 8 << 20:
                await asyncio.sleep(0.01)
            process.kill()
            await process.wait()
        assert not (tmp_path / "x.jsonl").exists()
        done = await ended(tmp_path, server, "-o", "x.jsonl")
        assert done.code == 0, done.err
        assert server.offsets[0] == 0
        assert server.offsets[1] >= 8 << 20
        assert len(server.asked) == 1
    assert (tmp_path / "x.jsonl").read_bytes() == server.content
    assert "going on at byte " in done.err
    assert done.out.startswith("x.jsonl: 20,000 events, ")


async def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(3000, "hold")]
        async with command(tmp_path, server, "-o", "x") as process:
            await server.held.wait()
            process.send_signal(signal.SIGINT)
            _, told = await process.communicate()
        assert process.returncode == 130
        assert told.decode().splitlines()[-1] == "hyrelog: stopped; the same command goes on from here"
        assert (await ended(tmp_path, server, "-o", "x")).code == 0
    assert (tmp_path / "x").read_bytes() == server.content


async def test_everything_that_is_asked_goes_to_the_server(tmp_path: Path) -> None:
    words = (
        "--source hot_and_archived --format csv --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --limit 20 --csv-raw "
        "--no-verification"
    )
    async with serving(export_server_of(LINES, format="CSV", rows="19")) as server:
        done = await ended(tmp_path, server, *words.split(), "--filter", "action=user.*", "--filter", "q=a=b", "-o", "x.csv")
        assert done.code == 0, done.err
        assert server.asked == [
            {
                "source": "HOT_AND_ARCHIVED",
                "format": "CSV",
                "filters": {"action": "user.*", "q": "a=b"},
                "from": "2026-01-01T00:00:00Z",
                "to": "2026-02-01T00:00:00Z",
                "limit": 20,
                "csvRaw": True,
                "verification": False,
            }
        ]


async def test_it_verifies_what_it_got_when_it_is_told_to(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        done = await ended(tmp_path, server, "--verify", "-o", "x")
        assert (done.code, "x: 20 events in " in done.out) == (0, True), done.err
    tampered = [*LINES[:5], LINES[5].replace(b"user.login", b"user.logon"), *LINES[6:]]
    async with serving(export_server_of(tampered)) as server:
        done = await ended(tmp_path, server, "--verify", "-o", "y")
        assert (done.code, "y line 6 hash: is " in done.err) == (1, True)


async def test_a_refusal_is_one_sentence(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        server.creations = [problem(403, "The plan FREE exports HOT alone.")]
        assert await ended(tmp_path, server, "-o", "x") == Completed(1, "", "hyrelog: 403 Forbidden: The plan FREE exports HOT alone.\n")


async def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    async with serving(export_server_of(LINES)) as server:
        done = await ended(tmp_path, server, "-o", "x")
        assert (done.code, "x is there already" in done.err) == (2, True)
        assert (tmp_path / "x").read_text() == "mine"
        assert (await ended(tmp_path, server, "-o", "x", "--force")).code == 0
    assert (tmp_path / "x").read_bytes() == server.content


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--filter", "action"), "has to be NAME=VALUE"),
        (("--filter", "from=2026-01-01T00:00:00Z"), "use --from"),
        (("--filter", "q=a", "--filter", "q=b"), "was given before"),
        (("-o", "nowhere/x"), "there is no directory"),
        (("-o", "/", "--force"), "is a directory: name a file"),
    ],
)
def test_what_can_not_be_meant_is_said_at_once(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    """No server is asked: there is none."""
    access = {"HYRELOG_URL": "http://127.0.0.1:1", "HYRELOG_WORKSPACE_KEY": KEY, "COLUMNS": "500"}
    done = CliRunner().invoke(build(), ["export", "-o", str(tmp_path / "x"), *words], env=access)
    assert (done.exit_code, complaint in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
