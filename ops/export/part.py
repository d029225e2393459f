"""A file that is being downloaded: its bytes so far in FILE.part, and in FILE.part.json of which export they are."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import orjson

from ops.client import Refused
from ops.local.state import write_private
from ops.verify.manifest import MANIFEST
from ops.verify.rows import RowCounter

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Which export a part is of: the server, what was asked, and the job that it made of it."""

    server: str
    asked: Mapping[str, Any]
    job_id: str


class Part:
    """The bytes so far. Closed and opened again, by another process too, it is what it was."""

    def __init__(self, path: Path, format: str) -> None:
        """``path`` is where the whole file is to be. Use as a context; raises ``Refused`` when another process is writing it."""
        self.path = path
        self.manifest_path = path.with_name(path.name + MANIFEST)
        self._part_path = path.with_name(path.name + ".part")
        self._origin_path = path.with_name(path.name + ".part.json")
        self._format = format
        self._begin()

    def _begin(self) -> None:
        self.size = 0
        self.counter = RowCounter(self._format)
        self._sha256 = sha256()

    def __enter__(self) -> Self:
        self._file: BinaryIO = open(self._part_path, "ab+", opener=_private)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(self._part_path.stat(), os.fstat(self._file.fileno())):
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):  # the latter: it has just got its final name
            self._file.close()
            raise Refused(f"{self._part_path} is being written by another hyrelog export") from None
        self._file.seek(0)
        while piece := self._file.read(_CHUNK_BYTES):
            self._note(piece)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of the bytes so far, as hex."""
        return self._sha256.hexdigest()

    def origin(self) -> Origin | None:
        """Which export the bytes are of; ``None`` when nobody knows."""
        with suppress(OSError, orjson.JSONDecodeError, TypeError):
            return Origin(**orjson.loads(self._origin_path.read_bytes()))
        return None

    def restart(self, origin: Origin | None = None) -> None:
        """Throw the bytes away, and begin with another export if one is named."""
        self._file.truncate(0)
        self._begin()
        if origin is not None:
            told = {"server": origin.server, "asked": dict(origin.asked), "job_id": origin.job_id}
            write_private(self._origin_path, orjson.dumps(told).decode() + "\n")

    def write(self, piece: bytes) -> None:
        """The next bytes."""
        self._file.write(piece)
        self._note(piece)

    def _note(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self.counter.add(piece)
        self.size += len(piece)

    def flush(self) -> None:
        """What was written outlives this process."""
        self._file.flush()

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """The file is whole: give it its name, and its manifest beside it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        # Both are written before either gets its name: whoever finds the file finds the manifest of it, and not the one of a file before.
        scratch = self.manifest_path.with_name(self.manifest_path.name + ".part")
        with open(scratch, "wb", opener=_private) as file:
            file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._part_path.replace(self.path)
        scratch.replace(self.manifest_path)
        self._origin_path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    """Open what only its owner may read, if it is not there already: it is full of other people's data."""
    return os.open(path, flags, 0o600)
