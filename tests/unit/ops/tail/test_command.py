"""``hyrelog tail``: what it prints and exits with; where signals and pipes are concerned, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from api.parameters import EventFilters
from ops.cli import build
from ops.client import KEYS
from schemas.keys import Scope, make_key
from schemas.topics import Region
from tests.support.commanding import Completed, run_here
from tests.support.sse import Connection, SseServer, frame, problem, sse_server

KEY = make_key(Region.US, Scope.WORKSPACE, bytes(24))
ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def command(directory: Path, *words: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, with nothing in its environment that it was not given."""
    names = {"PATH", "HOME", "LANG", "VIRTUAL_ENV"} & os.environ.keys()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ops",
        "tail",
        *words,
        env={name: os.environ[name] for name in names} | {"PYTHONPATH": str(ROOT)} | environ,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(directory: Path, *words: str, **environ: str) -> Completed:
    return await asyncio.to_thread(run_here, directory, ("tail", *words), environ)


def unboxed(text: str) -> str:
    """The words of a complaint, without the box around it."""
    return " ".join(text.replace("│", " ").split())


def access(server: SseServer) -> dict[str, str]:
    return {"HYRELOG_URL": server.url, "HYRELOG_WORKSPACE_KEY": KEY}


async def test_ctrl_c_ends_it_and_says_how_to_go_on(tmp_path: Path) -> None:
    async with sse_server(Connection(frame("p1", {"seq": 1, "action": "user.login"}), then="hold")) as server:
        async with command(tmp_path, "--action", "user.*", **access(server)) as process:
            assert process.stdout
            line = await process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, told = await process.communicate()
        assert line.decode().split() == ["user.login", "#1"]
        assert process.returncode == 130
        assert told.decode().splitlines() == ["hyrelog: stopped; --last-event-id p1 goes on from here"]
        assert server.asked[0][0] == {"action": "user.*"}


async def test_the_file_remembers_the_position_from_run_to_run(tmp_path: Path) -> None:
    script = (Connection(b"retry: 0\n\n" + frame("p1", {"seq": 1})), Connection(frame("p2", {"seq": 2})), problem(401, "Unknown key"))
    words = ("--json", "--resume", "position", "--since", "2026-01-01T00:00:00Z")
    async with sse_server(*script) as server:
        first, second = [await ended(tmp_path, *words, **access(server)) for _ in range(2)]
        assert first == Completed(1, '{"seq":1}\n{"seq":2}\n', "hyrelog: 401 Unauthorized: Unknown key\n")
        assert second == Completed(1, "", "hyrelog: 401 Unauthorized: Unknown key\n")
        assert (tmp_path / "position").read_text() == "p2\n"
        assert [(query.get("since"), headers.get("last-event-id")) for query, headers in server.asked] == [
            ("2026-01-01T00:00:00Z", None),
            (None, "p1"),
            (None, "p2"),
            (None, "p2"),
        ]


async def test_it_ends_after_as_many_events_as_were_asked_for(tmp_path: Path) -> None:
    """And what came with the last one is not lost to the next run: the position is that of what was shown."""
    came = frame("p1", {"seq": 1}) + frame("p2", {"fromSeq": 1, "toSeq": 2, "workspaceId": "w"}, event="gap") + frame("p3", {"seq": 3})
    more = frame("p4", {"seq": 4}) + frame("p5", {"seq": 5})
    async with sse_server(Connection(came + more, then="hold"), Connection(frame("p4", {"seq": 4}), then="hold")) as server:
        words = ("--json", "--resume", "position", "--limit")
        first = await ended(tmp_path, *words, "2", **access(server))
        assert (first.code, first.out) == (0, '{"seq":1}\n{"seq":3}\n')
        assert await ended(tmp_path, *words, "1", **access(server)) == Completed(0, '{"seq":4}\n', "")
        assert [headers.get("last-event-id") for _, headers in server.asked] == [None, "p3"]


async def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly(tmp_path: Path) -> None:
    """As in ``hyrelog tail --json | head -1``."""
    async with (
        sse_server(Connection(b"retry: 10\n\n" + frame("p", {"seq": 1}))) as server,
        command(tmp_path, "--json", **access(server)) as tail,
    ):
        assert tail.stdout
        assert orjson.loads(await tail.stdout.readline()) == {"seq": 1}
        tail.stdout._transport.close()  # type: ignore[attr-defined]  # the only way asyncio has of closing a child's output
        assert tail.stderr
        assert await tail.stderr.read() == b""
        assert await tail.wait() == 0


async def test_a_gap_is_told_beside_the_events(tmp_path: Path) -> None:
    gap = frame("p", {"workspaceId": "w\x1b", "fromSeq": 3, "toSeq": 7}, event="gap")
    async with sse_server(Connection(gap + frame("q", {"seq": 9})), problem(403, "No")) as server:
        found = await ended(tmp_path, "--json", **access(server))
    assert found.out == '{"seq":9}\n'
    assert "hyrelog: events 3 to 7 of workspace w\\u001b can't be had here any more: they are in the archive\n" in found.err


async def test_every_filter_of_a_tail_can_be_given(tmp_path: Path) -> None:
    filters = [field.alias or name for name, field in EventFilters.model_fields.items()]
    words = [word for name in filters for word in (f"--{''.join(f'-{each.lower()}' if each.isupper() else each for each in name)}", "x")]
    async with sse_server(problem(403, "No")) as server:
        await ended(tmp_path, *words, **access(server))
        assert server.asked[0][0] == dict.fromkeys(filters, "x")


@pytest.mark.parametrize("sent", [frame("p", b"\x1b[2J"), frame("p", b"1"), frame("p", b"[]", event="gap")])
async def test_what_is_no_event_is_not_shown(tmp_path: Path, sent: bytes) -> None:
    async with sse_server(Connection(sent)) as server:
        assert await ended(tmp_path, **access(server)) == Completed(1, "", "hyrelog: what the server sends is no event of HyreLog's\n")


async def test_the_local_stack_is_tailed_when_nothing_else_is_said(tmp_path: Path) -> None:
    async with sse_server(problem(403, "No")) as server:
        state = tmp_path / ".hyrelog"
        state.mkdir()
        (state / "demo.env").write_text(f"HYRELOG_URL={server.url}\nHYRELOG_WORKSPACE_KEY={KEY}\n")
        assert (await ended(tmp_path)).err == "hyrelog: 403 Forbidden: No\n"
        assert server.asked[0][1]["authorization"] == f"Bearer {KEY}"
        elsewhere = await ended(tmp_path, HYRELOG_URL=server.url)
        assert "must give an API key" in unboxed(elsewhere.err), "the local stack's key is for the local stack"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "http(s) URL"),
        (("--url", "ftp://x", "--key", KEY), "http(s) URL"),
        (("--url", "http://x"), "API key"),
        (("--url", "http://x", "--key", "secret"), "not an API key"),
        (("--url", "http://x", "--key", KEY, "--last-event-id", "a", "--since", "1h"), "--last-event-id"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HYRELOG_URL", "HYRELOG_STATE", *KEYS):
        monkeypatch.delenv(name, raising=False)
    found = CliRunner().invoke(build(), ["tail", *words])
    assert found.exit_code == 2
    assert complaint in unboxed(found.output)
    assert "secret" not in found.output
