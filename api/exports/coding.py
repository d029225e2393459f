"""Content codings of a download (RFC 9110 §8.4, §12.5.3): which one its client takes, and putting it on as the content goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import zstandard
from isal import isal_zlib

_GZIP_LEVEL: Final = 1  # of 0 to 3: twice as fast as 2 for a twentieth more bytes
_GZIP_WINDOW: Final = 31
_ZSTD_LEVEL: Final = 3


class Coder(Protocol):
    """Encodes a content piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What can be sent by now."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class _Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def coder(coding: str) -> Coder:
    """``gzip``, ``zstd`` or ``identity``."""
    if coding == "gzip":
        gzip: Coder = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
        return gzip
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    return _Identity()


def chosen(accepted: str | None) -> str:
    """The coding to use, by the header's weights: of equal ones zstd before gzip before none. None where nothing else is admitted."""
    if accepted is None:
        return "identity"
    weights = _weights(accepted)
    others = weights.get("*", 0.0)
    ranked = {"zstd": weights.get("zstd", others), "gzip": max(weights.get("gzip", others), weights.get("x-gzip", 0.0))}
    best = max(ranked, key=lambda name: ranked[name])
    return best if ranked[best] > 0 and ranked[best] >= weights.get("identity", 0.0) else "identity"


def _weights(accepted: str) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for part in accepted.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                weight = _weight(parameter[2:])
        if name:
            found[name] = weight
    return found


def _weight(text: str) -> float:
    """0 to 1; what is none counts as 0, so that it asks for nothing."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
