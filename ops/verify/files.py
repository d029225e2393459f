"""``hyrelog verify FILE``: exports and archives, checked offline, with nothing but the file and what is beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from ops.verify.archive import Flawed, LinesWalk
from ops.verify.checked import Checked
from ops.verify.exports import BadLine, ExportWalk, Stretch, told_holes
from ops.verify.manifest import MANIFEST, Manifest, NoManifest, differences, read_manifest
from ops.verify.rows import RowCounter, parquet_rows
from ops.verify.unzip import Content, Cut

_PARQUET: Final = b"PAR1"
_CSV: Final = b"id,"
"""The first column of ours."""


class _Kind(Enum):
    EVENTS = "events"
    ARCHIVE = "archive"
    SALTS = "salts"
    CSV = "CSV"
    PARQUET = "PARQUET"
    EMPTY = "empty"


class Walk(Protocol):
    """Takes a file's lines."""

    @property
    def stretches(self) -> list[Stretch]:
        """What of which chain was in them."""

    def take(self, line: bytes) -> None:
        """The next line. Raises ``BadLine``."""


class _ArchiveWalk:
    """The lines of an archive's object of events."""

    def __init__(self) -> None:
        self._walk = LinesWalk()

    @property
    def stretches(self) -> list[Stretch]:
        """As an export's."""
        return [
            Stretch(
                run.workspace_id,
                run.from_seq,
                run.first_prev_hash.hex(),
                run.first_hash.hex(),
                run.to_seq - run.from_seq + 1,
                run.to_seq,
                run.last_hash.hex(),
            )
            for run in self._walk.runs
        ]

    def take(self, line: bytes) -> None:
        """The next line. Raises ``BadLine``."""
        try:
            self._walk.check(line)
        except Flawed as error:
            flaw = error.flaw
            raise BadLine("event" if flaw.seq is None else f"workspace {flaw.workspace_id} seq {flaw.seq}", flaw.message) from None


def check(path: Path, *, manifest: Path | None, filtered: bool, advance: Callable[[int], None]) -> Checked:
    """Look at one file. ``manifest`` is that of an export, if it isn't beside it; ``filtered``: somebody said that it is."""
    checked = Checked(path)
    began = time.perf_counter()
    try:
        _check(checked, read_manifest(path, manifest), filtered, Content(path, advance))
    except OSError as error:
        checked.unknown(f"the file can't be read: {error.strerror}")
    except NoManifest as error:
        checked.unknown(str(error))
    checked.seconds = time.perf_counter() - began
    return checked


def _check(checked: Checked, manifest: Manifest | None, filtered: bool, content: Content) -> None:
    if checked.path.name.endswith(MANIFEST):
        checked.unknown("it is the manifest of an export: name the file that it is of")
        return
    try:
        start = next(Content(checked.path, lambda _read: None).pieces(), b"")
    except Cut as error:
        checked.broken(1, "file", str(error))
        return
    kind = _kind(checked.path.name, start, manifest)
    match kind:
        case _Kind.EVENTS:
            _check_export(checked, filtered, manifest, content)
        case _Kind.CSV | _Kind.PARQUET:
            _check_opaque(checked, kind, manifest, content)
        case _Kind.ARCHIVE:
            if _walk(checked, _ArchiveWalk(), content.lines()):
                checked.words = "an archive, intact: an unbroken chain of each workspace. Its groups are sealed and were not looked at"
        case _Kind.SALTS:
            checked.unknown("these are an archive's salts, encrypted: the events' object, beside it, is what can be verified")
        case _Kind.EMPTY:
            checked.unknown("it is empty, and there is no manifest that says so")


def _check_export(checked: Checked, filtered: bool, manifest: Manifest | None, content: Content) -> None:
    if manifest is None:
        walk = ExportWalk(filtered=filtered or None)
    else:
        walk = ExportWalk(filtered=bool(manifest["filtered"]) or filtered, told_holes=told_holes(manifest))
    if _walk(checked, walk, content.lines()) and manifest is not None:
        _compare(checked, manifest, content)
        for name, message in walk.against(manifest):
            checked.broken(0, name, message)
    _judge(checked, walk, manifest)


def _kind(name: str, start: bytes, manifest: Manifest | None) -> _Kind:
    """By how the content begins, else by what its manifest or its name says. What nothing is known of has to be events."""
    if start.startswith(b'{"hash":"') and start[73:].startswith(b'","leaf":{'):
        return _Kind.ARCHIVE
    if start.startswith(b'{"generation":'):
        return _Kind.SALTS
    if start.lstrip()[:1] == b"{":
        return _Kind.EVENTS
    told = str(manifest.get("format")) if manifest else ""
    if start.startswith(_PARQUET) or told == _Kind.PARQUET.value or ".parquet" in name:
        return _Kind.PARQUET
    if start.startswith(_CSV) or told == _Kind.CSV.value or ".csv" in name:
        return _Kind.CSV
    return _Kind.EVENTS if start or manifest else _Kind.EMPTY


def _walk(checked: Checked, walk: Walk, lines: Iterable[bytes]) -> bool:
    """Whether all lines are good. What comes behind the first bad one is not looked at."""
    try:
        for line in lines:
            walk.take(line)
            checked.rows += 1
    except BadLine as error:
        checked.broken(checked.rows + 1, error.field, error.message)
        return False
    except Cut as error:
        checked.broken(checked.rows + 1, "file", str(error))
        return False
    checked.stretches = walk.stretches
    return True


def _compare(checked: Checked, manifest: Manifest, content: Content) -> None:
    for name, message in differences(manifest, rows=checked.rows, size=content.size, sha256=content.sha256):
        checked.broken(0, name, message)


def _judge(checked: Checked, walk: ExportWalk, manifest: Manifest | None) -> None:
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
    elif holes := len(walk.stretches) - len({each.workspace_id for each in walk.stretches}):
        between = (
            f"but for {holes:,} hole{'s'[: holes > 1]} that its manifest tells of: what was there, no archive had when it was exported"
        )
        checked.words = f"intact and as its manifest says, an unbroken chain of each workspace {between}{cut}"
    else:
        checked.words = f"intact, an unbroken chain of each workspace{beside}{cut}"


def _check_opaque(checked: Checked, kind: _Kind, manifest: Manifest | None, content: Content) -> None:
    """Formats whose cells are not what was committed to: size, hash and rows are all there is to compare."""
    counter = RowCounter(kind.value)
    try:
        for piece in content.pieces():
            counter.add(piece)
        checked.rows = parquet_rows(checked.path) if kind is _Kind.PARQUET else counter.rows or 0
    except (Cut, ValueError) as error:
        checked.broken(0, "file", str(error))
        return
    no_lines = f"{kind.value} can't be verified event by event (export JSONL for that)"
    if manifest is None:
        checked.unknown(f"{no_lines}, and there is no manifest to compare it with")
        return
    checked.words = f"the file that its manifest is of; {no_lines}"
    _compare(checked, manifest, content)
