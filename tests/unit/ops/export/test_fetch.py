"""An export ends up whole in its file, however often the way there breaks, or it is said that it did not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.client import Access, Refused
from ops.export.api import TIMEOUT, Api
from ops.export.fetch import MOST_FAILURES, Fetch
from ops.export.part import Origin, Part
from ops.verify.rows import RowCounter
from schemas.view import render
from tests.support.chains import Chain
from tests.support.export_server import JOB, ExportServer, Serving, export_server_of, problem, serving

EVENTS = Chain("019c1388-0000-7000-8000-000000000000", "019c1388-0000-7000-8000-000000000001").events(20)
LINES = [render(event, verification=True) for event in EVENTS]
ASKED = {"source": "HOT", "format": "JSONL", "filters": {"action": "user.*"}}
Said = list[str]


async def fetch(server: ExportServer, path: Path, said: Said | None = None, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    say = [] if said is None else said
    async with aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=False) as session:
        api = Api(session, Access(server.url + "/", "a-key"))
        with Part(path, "JSONL") as part:
            running = Fetch(api, part, server.url, asked or ASKED, say=say.append, show=lambda _size, _rows: None, wait_seconds=0.0)
            return await running.run()


def left_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


async def test_an_export_and_its_manifest_are_there_in_the_end(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        manifest = await fetch(server, tmp_path / "x")
        assert server.asked == [ASKED]
        assert server.headers[0]["authorization"] == "Bearer a-key"
        assert server.headers[0]["accept-encoding"] == "identity", "a packed stream that broke off could not be gone on with at a byte"
    assert (tmp_path / "x").read_bytes() == server.content
    assert orjson.loads((tmp_path / "x.manifest.json").read_bytes()) == manifest
    assert left_in(tmp_path) == ["x", "x.manifest.json"]


@pytest.mark.parametrize("then", ["abort", "close", "lie"])
async def test_a_stream_that_breaks_off_is_gone_on_with_where_it_ended(tmp_path: Path, then: str) -> None:
    """``lie``: some proxy made a proper end of it. The server knows better."""
    said: Said = []
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(3000, then), Serving(0, then), Serving(4000, then)]
        await fetch(server, tmp_path / "x", said)
        assert server.offsets[0] == 0
        assert server.offsets == sorted(server.offsets)
        assert server.offsets[-1] > 3000
        assert len(server.asked) == 1
    assert (tmp_path / "x").read_bytes() == server.content


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(0, 9000), st.sampled_from(["abort", "close", "lie"])), max_size=6))
async def test_wherever_it_breaks_the_file_is_the_same(tmp_path_factory: pytest.TempPathFactory, cuts: Sequence[tuple[int, str]]) -> None:
    path = tmp_path_factory.mktemp("export") / "x"
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(most, then) for most, then in cuts]
        await fetch(server, path)
    assert path.read_bytes() == server.content


async def test_a_server_that_asks_to_be_left_alone_is(tmp_path: Path) -> None:
    said: Said = []
    async with serving(export_server_of(LINES)) as server:
        server.creations = [problem(503, "Not now", retry_after=0), problem(429, "Slowly")]
        server.downloads = [problem(429, "Two already", retry_after=0), Serving(2000, "abort"), problem(503, "Away")]
        server.manifests = [problem(503, "Away")]
        await fetch(server, tmp_path / "x", said)
        assert server.offsets[0] == server.offsets[1] == 0
    assert [sentence.split(": trying")[0] for sentence in said] == [
        "503 Service Unavailable: Not now",
        "429 Too Many Requests: Slowly",
        "429 Too Many Requests: Two already",
        said[3].split(": trying")[0],
        "503 Service Unavailable: Away",
        "503 Service Unavailable: Away",
    ]
    assert said[3].startswith("connection lost (")


async def test_retry_after_is_what_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("ops.export.fetch.asyncio.sleep", sleep)
    async with serving(export_server_of(LINES)) as server:
        server.creations = [problem(503, "Not now", retry_after=7), problem(429, "Much too often", retry_after=86400)]
        await fetch(server, tmp_path / "x")
    assert 7 <= slept[0] <= 7 * 1.2
    assert 600 <= slept[1] <= 600 * 1.2, "ten minutes at most"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path, status: int) -> None:
    body = {"details": [{"field": "from", "message": "is no time"}], "archiveIds": ["a-1", "a-2"]}
    async with serving(export_server_of(LINES)) as server:
        server.creations = [problem(status, "No", body=body)]
        with pytest.raises(Refused, match=rf"{status} .*: No; from: is no time; archives a-1 a-2"):
            await fetch(server, tmp_path / "x")
        server.downloads = [problem(status, "No")]
        with pytest.raises(Refused, match=rf"{status} .*: No"):
            await fetch(server, tmp_path / "x")


async def test_a_server_that_never_answers_is_given_up_in_the_end(tmp_path: Path) -> None:
    said: Said = []
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(2500, "abort"), *[problem(503, "Away")] * (MOST_FAILURES - 1)]
        with pytest.raises(Refused, match="the same command goes on from here"):
            await fetch(server, tmp_path / "x", said)
        assert len(said) == MOST_FAILURES - 1
        assert (tmp_path / "x.part").stat().st_size == server.offsets[-1] > 0
        await fetch(server, tmp_path / "x", said)
        assert said[-1] == f"going on at byte {server.offsets[-1]:,} of export {JOB}"
        assert len(server.asked) == 1
    assert (tmp_path / "x").read_bytes() == server.content


async def test_what_came_wholly_is_not_fetched_again(tmp_path: Path) -> None:
    """Killed between the last byte and the file's name."""
    async with serving(export_server_of(LINES)) as server:
        await fetch(server, tmp_path / "x")
        (tmp_path / "x").replace(tmp_path / "x.part")
        origin = {"server": server.url, "asked": ASKED, "job_id": JOB}
        (tmp_path / "x.part.json").write_bytes(orjson.dumps(origin))
        await fetch(server, tmp_path / "x")
        assert server.offsets == [0]
    assert left_in(tmp_path) == ["x", "x.manifest.json"]


async def test_what_is_not_the_export_is_fetched_again_once(tmp_path: Path) -> None:
    said: Said = []
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(content=server.content.replace(b"user.login", b"user.logon", 1))]
        await fetch(server, tmp_path / "x", said)
        assert server.offsets == [0, 0]
    assert (tmp_path / "x").read_bytes() == server.content
    assert said[0].startswith("what came is not the export: sha256 is ")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [({"rows": "21"}, "rows is 20, the manifest says 21"), ({"bytes": "7"}, "bytes is "), ({"sha256": "00" * 32}, "sha256 is ")],
)
async def test_what_is_not_the_export_twice_is_no_file(tmp_path: Path, told: dict[str, str], sentence: str) -> None:
    async with serving(export_server_of(LINES, **told)) as server:
        with pytest.raises(Refused, match=f"what came is not the export, twice: {sentence}"):
            await fetch(server, tmp_path / "x")
    assert "x" not in left_in(tmp_path)


async def test_a_part_of_another_export_is_left_alone(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(2500, "abort"), problem(403, "No")]
        with pytest.raises(Refused, match="No"):
            await fetch(server, tmp_path / "x")
        with pytest.raises(Refused, match=r"x\.part is of another export: name another file, or remove it"):
            await fetch(server, tmp_path / "x", asked={"source": "ARCHIVED", "format": "JSONL"})
        assert (tmp_path / "x.part").stat().st_size > 0


async def test_two_never_write_one_file(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        with Part(tmp_path / "x", "JSONL"), pytest.raises(Refused, match="is being written by another"):
            await fetch(server, tmp_path / "x")


@pytest.mark.parametrize(("body", "status"), [({"jobId": 7}, 200), ({}, 200)], ids=["an answer of another kind", "no answer"])
async def test_what_is_no_answer_of_ours_is_refused(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    async with serving(export_server_of(LINES)) as server:
        server.creations = [Serving(status=418, body=body)]
        with pytest.raises(Refused, match="no answer of HyreLog's"):
            await fetch(server, tmp_path / "x")


async def test_a_packed_download_is_refused(tmp_path: Path) -> None:
    async with serving(export_server_of(LINES)) as server:
        server.downloads = [Serving(headers={"Content-Encoding": "gzip"})]
        with pytest.raises(Refused, match="asked not to pack"):
            await fetch(server, tmp_path / "x")


async def test_an_empty_export_is_an_empty_file(tmp_path: Path) -> None:
    async with serving(export_server_of([])) as server:
        await fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""


@given(st.lists(st.binary(max_size=30)), st.sampled_from(["JSONL", "CSV"]))
def test_rows_are_counted_however_bytes_are_cut(pieces: list[bytes], format: str) -> None:
    one, several = RowCounter(format), RowCounter(format)
    one.add(b"".join(pieces))
    for piece in pieces:
        several.add(piece)
    assert one.rows == several.rows


def test_line_ends_within_quotes_end_no_row() -> None:
    counter = RowCounter("CSV")
    counter.add(b'id,actor\r\n1,"{""id"":""a\r\nb""}"\r\n2,\r\n')
    assert counter.rows == 2


def test_a_part_is_what_it_was_once_it_is_opened_again(tmp_path: Path) -> None:
    origin = Origin("http://x", ASKED, JOB)
    with Part(tmp_path / "x", "JSONL") as part:
        assert part.origin() is None
        part.restart(origin)
        part.write(b"a\nb")
        told = part.size, part.sha256, part.counter.rows
    with Part(tmp_path / "x", "JSONL") as again:
        assert (again.size, again.sha256, again.counter.rows) == told == (3, told[1], 1)
        assert again.origin() == origin
        again.write(b"\n")
        assert again.counter.rows == 2
        again.restart()
        assert (again.size, again.origin()) == (0, origin)
    assert (tmp_path / "x.part").stat().st_size == 0


def test_only_its_owner_can_read_what_is_fetched(tmp_path: Path) -> None:
    """While it comes, and when it is there; and nothing else is left."""
    with Part(tmp_path / "x", "JSONL") as part:
        part.restart(Origin("", {}, "x"))
        part.write(b"{}\n")
        assert (tmp_path / "x.part").stat().st_mode & 0o777 == 0o600
        part.finish({"rows": "1"})
    assert {(each.name, each.stat().st_mode & 0o777) for each in tmp_path.iterdir()} == {("x", 0o600), ("x.manifest.json", 0o600)}
