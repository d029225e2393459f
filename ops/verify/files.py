"""``hyrelog verify FILE``: exports and archives, checked offline, with nothing but the file and what is beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from ops.verify.exports import BadLine, ExportWalk, Stretch
from ops.verify.unzip import Content, Cut

MANIFEST: Final = ".manifest.json"
"""Behind a file's name: what the export came to."""
_PARQUET: Final = b"PAR1"
_SHOWN_STRETCHES: Final = 20


class Verdict(Enum):
    """What can be said of a file."""

    INTACT = auto()
    BROKEN = auto()
    UNKNOWN = auto()


class _Kind(Enum):
    EVENTS = "events"
    ARCHIVE = "archive"
    SALTS = "salts"
    CSV = "CSV"
    PARQUET = "PARQUET"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: the line (from 1; 0: the file as a whole), the field, and what was found."""

    line: int
    field: str
    message: str


@dataclass(slots=True)
class Checked:
    """A file that was looked at."""

    path: Path
    rows: int = 0
    seconds: float = 0.0
    verdict: Verdict = Verdict.INTACT
    words: str = ""
    """What was proven, and what was not."""
    findings: list[Finding] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    """The chains in it, where it holds any."""

    def sentences(self) -> Iterator[str]:
        """The findings, a line each."""
        for found in self.findings:
            place = f" line {found.line}" if found.line else ""
            yield f"{self.path}{place} {found.field}: {found.message}"

    def summary(self) -> Iterator[str]:
        """What to print of it."""
        rate = f" in {self.seconds:.1f} s ({self.rows / self.seconds:,.0f}/s)" if self.seconds else ""
        yield f"{self.path}: {self.rows:,} events{rate}: {self.words}"
        if self.verdict is not Verdict.BROKEN and len(self.stretches) <= _SHOWN_STRETCHES:
            for each in self.stretches:
                yield f"  workspace {each.workspace_id}: seq {each.first_seq} to {each.last_seq}, ends with hash {each.last_hash}"

    def broken(self, line: int, field: str, message: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(line, field, message))
        self.verdict, self.words = Verdict.BROKEN, f"NOT intact, {len(self.findings)} finding{'s'[: len(self.findings) > 1]}"

    def unknown(self, words: str) -> None:
        """Nothing is wrong, and not enough is proven."""
        self.verdict, self.words = Verdict.UNKNOWN, f"can't tell: {words}"


class Walk(Protocol):
    """Takes a file's lines."""

    rows: int
    stretches: list[Stretch]

    def take(self, line: bytes) -> None:
        """The next line. Raises ``BadLine``."""


def check(path: Path, *, manifest: Path | None, filtered: bool, advance: Callable[[int], None]) -> Checked:
    """Look at one file. ``manifest`` is that of an export, if it isn't beside it; ``filtered``: somebody said that it is."""
    checked = Checked(path)
    began = time.perf_counter()
    try:
        _check(checked, _manifest(path, manifest), filtered, Content(path, advance))
    except OSError as error:
        checked.unknown(f"the file can't be read: {error.strerror}")
    except _NoManifest as error:
        checked.unknown(str(error))
    checked.seconds = time.perf_counter() - began
    return checked


def _check(checked: Checked, manifest: Mapping[str, Any] | None, filtered: bool, content: Content) -> None:
    if checked.path.name.endswith(MANIFEST):
        checked.unknown("it is the manifest of an export: name the file that it is of")
        return
    try:
        start = next(Content(checked.path, lambda _read: None).pieces(), b"")
    except Cut as error:
        checked.broken(1, "file", str(error))
        return
    kind = _kind(start, manifest)
    match kind:
        case _Kind.EVENTS:
            walk = ExportWalk(filtered=bool(manifest["filtered"]) or filtered if manifest else filtered or None)
            if _walk(checked, walk, content.lines()) and manifest is not None:
                _compare(checked, walk.against(manifest), manifest, content)
            _judge(checked, walk, manifest)
        case _Kind.CSV | _Kind.PARQUET:
            _check_opaque(checked, kind, manifest, content)
        case _Kind.ARCHIVE | _Kind.SALTS:
            checked.unknown("")
        case _Kind.EMPTY:
            checked.unknown("it is empty, and there is no manifest that says so")


def _kind(start: bytes, manifest: Mapping[str, Any] | None) -> _Kind:
    """By how the content begins, or by its manifest: an empty file tells nothing itself."""
    if start.startswith(_PARQUET):
        return _Kind.PARQUET
    if start.startswith(b'{"hash":"') and start[73:].startswith(b'","leaf":{'):
        return _Kind.ARCHIVE
    if start.startswith(b'{"generation":'):
        return _Kind.SALTS
    if start.lstrip()[:1] == b"{":
        return _Kind.EVENTS
    if manifest is not None:
        return {"CSV": _Kind.CSV, "PARQUET": _Kind.PARQUET}.get(str(manifest.get("format")), _Kind.EVENTS)
    return _Kind.CSV if start else _Kind.EMPTY


def _walk(checked: Checked, walk: Walk, lines: Iterable[bytes]) -> bool:
    """Whether all lines are good. What comes behind the first bad one is not looked at."""
    number = 0
    try:
        for line in lines:
            number += 1
            walk.take(line)
    except BadLine as error:
        checked.broken(number, error.field, error.message)
    except Cut as error:
        checked.broken(number + 1, "file", str(error))
    checked.rows, checked.stretches = walk.rows, walk.stretches
    return not checked.findings


def _compare(checked: Checked, differing: Iterable[tuple[str, str]], manifest: Mapping[str, Any], content: Content) -> None:
    for name, message in differing:
        checked.broken(0, name, message)
    for name, ours in (("bytes", str(content.size)), ("sha256", content.sha256)):
        if name in manifest and str(manifest[name]) != ours:
            checked.broken(0, name, f"is {ours}, the manifest says {manifest[name]}")


def _judge(checked: Checked, walk: ExportWalk, manifest: Mapping[str, Any] | None) -> None:
    """What the good lines of an export prove."""
    if checked.findings:
        return
    cut = "; cut at its limit, there were more" if manifest and manifest.get("truncated") else ""
    beside = " and as its manifest says" if manifest else ""
    if walk.unproven:
        checked.unknown(f"{walk.unproven:,} lines have no `verification`, so that their links alone were checked, and not what they say")
    elif walk.filtered:
        checked.words = f"intact event by event{beside}; it is filtered: no chain, so what is missing in between can't be seen{cut}"
    elif walk.holes:
        checked.unknown(
            f"intact event by event, but no chain: {walk.holes:,} hole{'s'[: walk.holes > 1]} ({walk.first_hole}). "
            "Was it filtered (--filtered says so, and its manifest), or were lines taken out?"
        )
    else:
        checked.words = f"intact, an unbroken chain of each workspace{beside}{cut}"


def _check_opaque(checked: Checked, kind: _Kind, manifest: Mapping[str, Any] | None, content: Content) -> None:
    """Formats whose cells are not what was committed to: size, hash and rows are all there is to compare."""
    is_csv = kind is _Kind.CSV
    try:
        ended, quotes = 0, 0
        for piece in content.pieces():
            parts = piece.split(b'"')  # every other one is outside of quotes
            ended += sum(part.count(b"\n") for part in parts[quotes % 2 :: 2]) if is_csv else 0
            quotes += len(parts) - 1
    except Cut as error:
        checked.broken(0, "file", str(error))
        return
    checked.rows = max(ended - 1, 0) if is_csv else _parquet_rows(checked)
    if checked.findings:
        return
    no_lines = f"{kind.value} can't be verified event by event (export JSONL for that)"
    if manifest is None:
        checked.unknown(f"{no_lines}, and there is no manifest to compare it with")
        return
    differing = [("rows", f"there are {checked.rows}, the manifest says {manifest['rows']}")]
    _compare(checked, differing if str(manifest["rows"]) != str(checked.rows) else (), manifest, content)
    if not checked.findings:
        checked.words = f"the file that its manifest is of; {no_lines}"


def _parquet_rows(checked: Checked) -> int:
    import pyarrow as pa  # noqa: PLC0415 - 40 MB and half a second that only these files are worth
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    try:
        with ParquetFile(checked.path) as file:
            return int(file.metadata.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        checked.broken(0, "file", f"is no Parquet: {error}")
        return 0


class _NoManifest(Exception):
    """What should be a manifest is none."""


def _manifest(path: Path, given: Path | None) -> dict[str, Any] | None:
    """The manifest that was named, or is beside the file (or beside the same without its .gz or .zst)."""
    beside = [path.with_name(path.name + MANIFEST)]
    if path.suffix in (".gz", ".zst"):
        beside.append(path.with_name(path.stem + MANIFEST))
    found = given or next((each for each in beside if each.exists()), None)
    if found is None:
        return None
    with suppress(OSError, orjson.JSONDecodeError):
        manifest = orjson.loads(found.read_bytes())
        if isinstance(manifest, dict) and {"rows", "sha256", "filtered"} <= manifest.keys():
            return manifest
    raise _NoManifest(f"{found} is no manifest of an export")
