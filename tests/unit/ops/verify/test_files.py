"""``hyrelog verify FILE``: what it says of a file, however that is packed, cut or described."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner, Result

from ops.cli import build
from ops.verify.exports import ExportWalk
from ops.verify.unzip import Content, Cut
from schemas.event import GROUPS
from schemas.seal import event_line, keys_header
from schemas.view import render
from tests.support.chains import Chain
from tests.unit.schemas import plain

COMPANY, WORKSPACE = "019c1388-0000-7000-8000-000000000000", "019c1388-0000-7000-8000-000000000001"
EVENTS = Chain(COMPANY, WORKSPACE).events(8)
LINES = [render(event, verification=True) for event in EVENTS]
CONTENT = b"".join(line + b"\n" for line in LINES)
BAD = CONTENT.replace(b'"seq":3,', b'"seq":3,"x":0,').replace(b'"action":"user.login"', b'"action":"user.logon"', 3)


def manifest_of(lines: list[bytes], **changed: Any) -> dict[str, Any]:
    walk = ExportWalk(filtered=None)
    for line in lines:
        walk.take(line)
    content = b"".join(line + b"\n" for line in lines)
    told = {
        "rows": str(walk.rows),
        "bytes": str(len(content)),
        "sha256": sha256(content).hexdigest(),
        "filtered": False,
        "truncated": False,
    }
    return told | {"format": "JSONL", "workspaces": [each.told() for each in walk.stretches]} | changed


def verify(*words: object) -> Result:
    return CliRunner().invoke(build(), ["verify", *map(str, words)], env={"COLUMNS": "500"})


def write(directory: Path, content: bytes, manifest: dict[str, Any] | None = None, name: str = "export.jsonl") -> Path:
    path = directory / name
    path.write_bytes(content)
    if manifest is not None:
        (directory / f"{name}.manifest.json").write_text(json.dumps(manifest))
    return path


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lambda content: b"".join(map(gzip.compress, (content[:700], content[700:]))),
        zstd,
        lambda content: zstd(content[:700]) + zstd(content[700:]),
        lambda content: content[:-1],
    ],
    ids=["plain", "gzip", "two members", "zstd", "two frames", "no last line feed"],
)
def test_a_whole_export_is_intact_however_it_is_packed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    done = verify(write(tmp_path, pack(CONTENT)))
    assert done.exit_code == 0, done.output
    assert ": 8 events in " in done.stdout
    assert "intact, an unbroken chain of each workspace\n" in done.stdout
    assert f"workspace {WORKSPACE}: seq 1 to 8, ends with hash " in done.stdout


def test_the_manifest_beside_it_is_compared(tmp_path: Path) -> None:
    done = verify(write(tmp_path, CONTENT, manifest_of(LINES)))
    assert (done.exit_code, "and as its manifest says" in done.stdout) == (0, True)
    packed = write(tmp_path, gzip.compress(CONTENT), name="export.jsonl.gz")
    assert "and as its manifest says" in verify(packed).stdout, "that of the same file unpacked"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"rows": "9"}, "rows"),
        ({"sha256": "00" * 32}, "sha256"),
        ({"bytes": "7"}, "bytes"),
        ({"workspaces": []}, "workspaces"),
        ({"workspaces": [manifest_of(LINES)["workspaces"][0] | {"lastHash": "00" * 32}]}, "workspaces.lastHash"),
        ({"workspaces": [manifest_of(LINES)["workspaces"][0] | {"firstSeq": 2}]}, "workspaces.firstSeq"),
    ],
)
def test_another_manifest_is_found(tmp_path: Path, changed: dict[str, Any], field: str) -> None:
    done = verify(write(tmp_path, CONTENT, manifest_of(LINES, **changed)))
    assert done.exit_code == 1
    assert f"export.jsonl {field}: " in done.stderr
    assert "NOT intact, 1 finding" in done.stdout


def test_lines_cut_off_at_the_end_are_missed_by_the_manifest_alone(tmp_path: Path) -> None:
    path = write(tmp_path, b"".join(line + b"\n" for line in LINES[:5]))
    assert verify(path).exit_code == 0, "what is there is a chain"
    done = verify("--manifest", write(tmp_path, json.dumps(manifest_of(LINES)).encode(), name="other"), path)
    assert (done.exit_code, "rows: is 5, the manifest says 8" in done.stderr) == (1, True)


def test_a_hole_between_the_manifests_runs_is_told_and_no_finding(tmp_path: Path) -> None:
    """Cut within a run, or where the manifest has none, it is one."""
    first, last = manifest_of(LINES[:3])["workspaces"], manifest_of(LINES[5:])["workspaces"]
    kept = LINES[:3] + LINES[5:]
    manifest = manifest_of(kept, workspaces=first + last)
    done = verify(write(tmp_path, b"".join(line + b"\n" for line in kept), manifest))
    assert done.exit_code == 0, done.output
    assert "an unbroken chain of each workspace but for 1 hole that its manifest tells of" in done.stdout
    for lines in (kept[:2] + kept[3:], kept[:3] + kept[4:], LINES):
        assert verify(write(tmp_path, b"".join(line + b"\n" for line in lines), manifest)).exit_code == 1


def test_the_first_bad_line_is_named_with_its_file(tmp_path: Path) -> None:
    done = verify(write(tmp_path, CONTENT.replace(LINES[3], LINES[3].replace(b"user.login", b"user.logon"))))
    assert done.exit_code == 1
    assert "export.jsonl line 4 hash: is " in done.stderr


def test_a_filtered_export_is_no_chain_and_it_says_so(tmp_path: Path) -> None:
    some = LINES[::3]
    content = b"".join(line + b"\n" for line in some)
    for done in (
        verify("--filtered", write(tmp_path, content)),
        verify(write(tmp_path, content, manifest_of(some, filtered=True), name="other.jsonl")),
    ):
        assert done.exit_code == 0
        assert "intact event by event" in done.stdout
        assert "it is filtered: no chain, so what is missing in between can't be seen" in done.stdout


def test_holes_that_nobody_speaks_of_leave_it_undecided(tmp_path: Path) -> None:
    done = verify(write(tmp_path, b"".join(line + b"\n" for line in LINES[:3] + LINES[4:])))
    assert done.exit_code == 2
    assert "can't tell: intact event by event, but no chain: 1 hole (seq 5 follows 3)" in done.stdout


def test_holes_in_what_is_said_to_be_whole_are_findings(tmp_path: Path) -> None:
    some = LINES[:3] + LINES[4:]
    done = verify(write(tmp_path, b"".join(line + b"\n" for line in some), manifest_of(some)))
    assert (done.exit_code, "line 4 seq: 5 follows 3" in done.stderr) == (1, True)


def test_a_cut_at_the_limit_is_told(tmp_path: Path) -> None:
    assert "cut at its limit, there were more" in verify(write(tmp_path, CONTENT, manifest_of(LINES, truncated=True))).stdout


def test_without_verification_nothing_is_proven(tmp_path: Path) -> None:
    content = b"".join(render(event, verification=False) + b"\n" for event in Chain(COMPANY, WORKSPACE).events(3))
    done = verify(write(tmp_path, content))
    assert (done.exit_code, "3 lines have no `verification`" in done.stdout) == (2, True)


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("cut", [1, 8, 100])
def test_a_cut_file_is_named(tmp_path: Path, pack: Callable[[bytes], bytes], cut: int) -> None:
    done = verify(write(tmp_path, pack(CONTENT)[:-cut]))
    assert done.exit_code == 1
    assert "stream is cut or broken: it is cut off" in done.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(CONTENT)[:-8] + bytes(8), "file: the gzip stream is cut or broken: "),
        (gzip.compress(CONTENT) + b"tail" * 9, "file: the gzip stream is cut or broken: "),
        (zstd(CONTENT) + b"tail", "file: the zstd stream is cut or broken: "),
        (b"{" * (5 << 20), "line 1 file: the line is longer than 4 MiB"),
    ],
    ids=["checksum", "gzip and more", "zstd and more", "no end"],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    done = verify(write(tmp_path, content))
    assert (done.exit_code, sentence in done.stderr) == (1, True), done.output


def test_an_empty_export_takes_a_manifest(tmp_path: Path) -> None:
    assert verify(write(tmp_path, b"")).exit_code == 2
    assert verify(write(tmp_path, b"", manifest_of([]))).exit_code == 0


CSV = b'id,action,"actor"\r\n1,a,"{""id"":""x\r\ny""}"\r\n2,b,\r\n'


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_csv_is_compared_with_its_manifest_and_no_further(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    told = {"rows": "2", "bytes": str(len(CSV)), "sha256": sha256(CSV).hexdigest(), "filtered": False, "format": "CSV"}
    done = verify(write(tmp_path, pack(CSV), told, name="export.csv"))
    assert done.exit_code == 0
    assert "2 events" in done.stdout
    assert "CSV can't be verified event by event (export JSONL for that)" in done.stdout
    assert verify(write(tmp_path, pack(CSV.replace(b"2,b", b"2,c")), told, name="export.csv")).exit_code == 1
    assert "rows: is 1, " in verify(write(tmp_path, pack(CSV[:-6]), told, name="export.csv")).stderr
    (tmp_path / "export.csv.manifest.json").unlink()
    assert verify(tmp_path / "export.csv").exit_code == 2


def test_parquet_is_compared_with_its_manifest_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    parquet.write_table(pa.table({"id": ["1", "2"]}), path)
    content = path.read_bytes()
    told = {"rows": "2", "bytes": str(len(content)), "sha256": sha256(content).hexdigest(), "filtered": False, "format": "PARQUET"}
    done = verify(write(tmp_path, content, told, name="export.parquet"))
    assert (done.exit_code, "PARQUET can't be verified event by event" in done.stdout) == (0, True)
    assert verify(write(tmp_path, content[:-5], told, name="export.parquet")).exit_code == 1


def archive(first: int = 0, last: int | None = None) -> bytes:
    return gzip.compress(b"".join(event_line(event) + b"\n" for event in EVENTS[first:last]))


def test_an_archives_events_are_walked_without_opening_anything(tmp_path: Path) -> None:
    done = verify(write(tmp_path, archive(2), name="events.jsonl.gz"))
    assert done.exit_code == 0, done.output
    assert ": 6 events in " in done.stdout
    assert "an archive, intact: an unbroken chain of each workspace. Its groups are sealed and were not looked at" in done.stdout
    assert f"workspace {WORKSPACE}: seq 3 to 8, ends with hash {EVENTS[-1].hash.hex()}" in done.stdout


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:3] + lines[4:], f"line 4 workspace {WORKSPACE} seq 5: seq 5 follows 3"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], f"line 2 workspace {WORKSPACE} seq 3: seq 3 follows 1"),
        (
            lambda lines: [*lines[:4], lines[4].replace(b"user.login", b"user.logon"), *lines[5:]],
            f"line 5 workspace {WORKSPACE} seq 5: hash is ",
        ),
        (lambda lines: [*lines[:4], lines[4][:-1], *lines[5:]], "line 5 event: not a line of an archive"),
    ],
    ids=["dropped", "swapped", "changed", "cut"],
)
def test_a_tampered_archive_is_named(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], sentence: str) -> None:
    lines = change([event_line(event) for event in EVENTS])
    done = verify(write(tmp_path, gzip.compress(b"".join(line + b"\n" for line in lines)), name="events.jsonl.gz"))
    assert (done.exit_code, sentence in done.stderr) == (1, True), done.output


def test_salts_are_not_what_can_be_verified(tmp_path: Path) -> None:
    done = verify(write(tmp_path, gzip.compress(keys_header("archives/x", 1) + b"\n"), name="events.keys.gz"))
    assert (done.exit_code, "salts" in done.stdout) == (2, True)


def test_files_of_one_chain_have_to_join(tmp_path: Path) -> None:
    """An archive and an export, a day and the next one: wherever two tell of one event, they tell the same."""
    first, second = write(tmp_path, archive(0, 4), name="first"), write(tmp_path, archive(4), name="second")
    assert verify(first, second, write(tmp_path, CONTENT)).exit_code == 0
    other = b"".join(render(event, verification=True) + b"\n" for event in Chain(COMPANY, WORKSPACE).events(8))
    done = verify(first, write(tmp_path, other, name="other"))
    assert done.exit_code == 1
    assert f"other: workspace {WORKSPACE} seq 1 has the hash " in done.stderr


@pytest.mark.parametrize("name", ["x.jsonl", "events.jsonl.gz", "x"])
@pytest.mark.parametrize("content", [b"x" + CONTENT, bytes(100), archive()[1:], archive(0, 1).replace(b"\x1f", b"\x00", 1)])
def test_what_does_not_even_begin_as_it_should_is_broken(tmp_path: Path, name: str, content: bytes) -> None:
    done = verify(write(tmp_path, content, name=name))
    assert (done.exit_code, f"{name} line 1 " in done.stderr) == (1, True), done.output


def test_what_is_no_manifest_is_not_taken_for_one(tmp_path: Path) -> None:
    for told in ({"rows": "8"}, manifest_of(LINES, workspaces=7), manifest_of(LINES, workspaces=[7])):
        done = verify(write(tmp_path, CONTENT, told))
        assert (done.exit_code, "is no manifest of an export" in done.stdout) == (2, True)
    done = verify(tmp_path / "export.jsonl.manifest.json")
    assert (done.exit_code, "name the file that it is of" in done.stdout) == (2, True)


def test_nothing_in_a_file_steers_the_terminal(tmp_path: Path) -> None:
    value = json.loads(LINES[0]) | {"workspaceId": "\x1b[2J"}
    hashed = {name: value[name] for name in value if name not in (*GROUPS, "hash", "verification")}
    value["hash"] = plain.leaf_hash(plain.leaf(hashed, value["verification"]["commitments"]))
    done = verify(write(tmp_path, json.dumps(value).encode(), name="x\x1b[2J"))
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "workspace \\u001b[2J: seq 1 to 1" in done.stdout


def test_several_files_exit_with_the_worst(tmp_path: Path) -> None:
    good, bad = write(tmp_path, CONTENT, name="good"), write(tmp_path, BAD, name="bad")
    done = verify(good, bad, tmp_path / "none")
    assert done.exit_code == 1
    assert [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("/")][-1].startswith("0 events")
    assert verify(good, tmp_path / "none").exit_code == 2
    assert verify(good, good).exit_code == 0


@pytest.mark.parametrize("words", [("--region", "US"), ("--topic",), ("--workspace", WORKSPACE)])
def test_files_are_checked_by_themselves(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert verify(*words, write(tmp_path, CONTENT)).exit_code == 2
    assert "don't go with them" in verify(*words, write(tmp_path, CONTENT)).stderr


@given(st.binary(max_size=400), st.sampled_from([bytes, gzip.compress, zstd]))
def test_content_comes_out_as_it_went_in(tmp_path_factory: pytest.TempPathFactory, content: bytes, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path_factory.mktemp("content") / "file"
    packed = pack(content)
    path.write_bytes(packed)
    if pack is bytes and content[:2] in (b"\x1f\x8b", b"\x28\xb5"):
        return
    read: list[int] = []
    found = Content(path, read.append)
    assert b"\n".join(found.lines()) == content.removesuffix(b"\n")
    assert (found.size, found.sha256, sum(read)) == (len(content), sha256(content).hexdigest(), len(packed))


def test_an_expanding_file_takes_little_memory(tmp_path: Path) -> None:
    """64 MiB of zeros in 64 KiB: pieces stay small, and so does the line that never ends."""
    for pack in (gzip.compress, zstd):
        path = write(tmp_path, pack(bytes(64 << 20)))
        assert max(map(len, Content(path, lambda _read: None).pieces())) <= 32 << 20
        with pytest.raises(Cut, match="longer than 4 MiB"):
            list(Content(path, lambda _read: None).lines())
