"""Opaque cursors: where a list goes on, signed, and good for nothing but the list that gave them out.

A cursor is base64url(version ‖ position ‖ HMAC-SHA256(secret, question ‖ version ‖ position)). The question (caller, route,
filters, order) is not in it, but under another question the same position has another MAC.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

import orjson

from schemas.problems import Problem, invalid

Question = Mapping[str, str | None]

_MAC_BYTES = 32
_VERSION = 1
_LAYOUT = Struct(">Bq16s")  # 57 bytes with the MAC: base64 without padding


class Position(NamedTuple):
    """The last row of a page: its time in microseconds, and 16 bytes that tell rows of one time apart."""

    time: int
    tie: bytes


class Cursors:
    """Signs and reads cursors. ``secrets`` are CURSOR_SECRET and, if set, its predecessor."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets

    def write(self, question: Question, position: Position) -> str:
        """The cursor that goes on behind ``position`` in the list that answers ``question``."""
        data = _LAYOUT.pack(_VERSION, *position)
        return urlsafe_b64encode(data + _mac(self._secrets[0], question, data)).decode()

    def read(self, question: Question, cursor: str) -> Position:
        """Where to go on. Raises a 400 on the field ``cursor`` for one that was not given out for this very question."""
        try:
            raw = b64decode(cursor, altchars=b"-_", validate=True)
        except ValueError:
            raise _refusal() from None
        data, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(data) != _LAYOUT.size or not any(hmac.compare_digest(mac, _mac(secret, question, data)) for secret in self._secrets):
            raise _refusal()
        _version, time, tie = _LAYOUT.unpack(data)
        return Position(time, tie)


def _mac(secret: bytes, question: Question, data: bytes) -> bytes:
    return hmac.digest(secret, orjson.dumps(dict(question), option=orjson.OPT_SORT_KEYS) + data, "sha256")


def _refusal() -> Problem:
    return invalid("cursor", "is not a cursor of this list: begin again without it")
