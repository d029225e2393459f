"""A file's content, whatever it is packed in, in pieces of bounded size. What is cut or broken is told from what ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import zstandard

from schemas.members import NotGzip, unzip

_PIECE_BYTES: Final = 1 << 18
_ZSTD_PIECE_BYTES: Final = 1 << 10
"""A frame may unpack to 32,768 times its size, and the library can't be stopped within a piece: 32 MiB at most."""
MOST_LINE_BYTES: Final = 4 << 20
"""Many times the longest line of ours."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class Cut(Exception):
    """The file ends before its content does, or is no such file. The message says which."""


class Content:
    """What is in a file. Reading it once counts and hashes it."""

    def __init__(self, path: Path, advance: Callable[[int], None]) -> None:
        """``advance`` gets how many bytes of the file were read, piece by piece."""
        self._path = path
        self._advance = advance
        self._sha256 = sha256()
        self.size = 0
        """Unpacked, in bytes."""

    @property
    def sha256(self) -> str:
        """Of the unpacked content read so far, as hex."""
        return self._sha256.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """The content, no piece empty. Raises ``Cut`` and ``OSError``."""
        for piece in filter(None, self._unpacked()):
            self._sha256.update(piece)
            self.size += len(piece)
            yield piece

    def lines(self) -> Iterator[bytes]:
        """Its lines, without their line feeds; what is behind the last one is a line too. Raises ``Cut`` and ``OSError``."""
        rest = b""
        for piece in self.pieces():
            first, *others = piece.split(b"\n")
            rest += first
            if others:
                yield rest
                yield from others[:-1]
                rest = others[-1]
            if len(rest) > MOST_LINE_BYTES:
                raise Cut(f"the line is longer than {MOST_LINE_BYTES >> 20} MiB: it is none of ours")
        if rest:
            yield rest

    def _unpacked(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            magic = file.read(len(_ZSTD))
        if magic.startswith(_GZIP):
            return _gunzip(self._raw(_PIECE_BYTES))
        return _unzstd(self._raw(_ZSTD_PIECE_BYTES)) if magic == _ZSTD else self._raw(_PIECE_BYTES)

    def _raw(self, size: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(size):
                self._advance(len(piece))
                yield piece


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        for piece in unzip(pieces):
            yield piece.data
    except NotGzip as error:
        raise Cut(f"the gzip stream is cut or broken: {error}") from None


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Of one frame after another (RFC 8878 §3.1)."""
    frame = None
    try:
        for piece in pieces:
            left = piece
            while left:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(left)
                left, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise Cut(f"the zstd stream is cut or broken: {error}") from None
    if frame is not None:
        raise Cut("the zstd stream is cut or broken: it is cut off")
