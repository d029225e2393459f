"""Tail positions: how far into its events a client has come, as text that only we can read.

Good in every process that has the secret, whatever was restarted. It is encrypted, since offsets tell of other tenants'
traffic, and bound to whose events they are, not to the filters: AES-SIV (RFC 5297), which forgives a nonce that comes again.
Each text begins with random bytes: two texts of one place would otherwise tell that nobody's events came in between.
"""

from __future__ import annotations

import os
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from struct import Struct, calcsize, pack, unpack
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

MAX_CHARACTERS: Final = 8000
"""Of a position: a header line must hold it. It has 19 characters for each partition that the company has events in."""
_VERSION = 1
_RANDOM_BYTES = 8
_HEAD = Struct(f">{_RANDOM_BYTES}sBqq")
_PLACE = ">HqI"
_PLACE_BYTES = calcsize(_PLACE)
_NAME = b"hyrelog tail"

Place = tuple[int, int]
"""Where an event lay in its partition of the ingest topic: its record's offset, and its index there."""


class Audience(NamedTuple):
    """Whose events they are: a company's, or of one workspace of it."""

    company_id: str
    workspace_id: str | None


class Position(NamedTuple):
    """Everything at or behind ``places`` has been seen, by partition; of a partition that is not named, nothing.

    ``time`` (microseconds): what was stored up to then has been seen too. ``seq`` is the workspace's, 0 for a company.
    """

    time: int
    seq: int
    places: Mapping[int, Place]


class Positions:
    """Writes and reads positions. ``secrets`` are CURSOR_SECRET and, if set, its predecessor; ``entropy`` gives so many random bytes."""

    def __init__(self, secrets: tuple[bytes, ...], entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._ciphers = [AESSIV(blake2b(secret, digest_size=32, person=_NAME).digest()) for secret in secrets]

    def write(self, audience: Audience, position: Position) -> bytes:
        """The position as base64url."""
        text = _HEAD.pack(self._entropy(_RANDOM_BYTES), _VERSION, position.time, position.seq) + b"".join(
            pack(_PLACE, partition, *place) for partition, place in position.places.items()
        )
        return urlsafe_b64encode(self._ciphers[0].encrypt(text, _bound_to(audience)))

    def read(self, audience: Audience, text: str) -> Position:
        """The position that was written for this audience. Raises ``ValueError``."""
        if len(text) > MAX_CHARACTERS:
            raise ValueError("too long")
        opened = self._open(b64decode(text, altchars=b"-_", validate=True), _bound_to(audience))
        _, version, time, seq = _HEAD.unpack_from(opened)
        if version != _VERSION:
            raise ValueError("of another version")
        return Position(time, seq, dict(_places(opened[_HEAD.size :])))

    def _open(self, sealed: bytes, bound_to: list[bytes]) -> bytes:
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed, bound_to)
            except InvalidTag:
                continue
        raise ValueError("not ours")


def _bound_to(audience: Audience) -> list[bytes]:
    return [audience.company_id.encode(), (audience.workspace_id or "").encode()]


def _places(packed: bytes) -> Iterator[tuple[int, Place]]:
    for at in range(0, len(packed), _PLACE_BYTES):
        partition, offset, index = unpack(_PLACE, packed[at : at + _PLACE_BYTES])
        yield partition, (offset, index)
