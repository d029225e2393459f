"""The names of API keys and the form in which they are stored (contract §1).

``hlk_{us|eu|uk|au}_{co|ws}_<48 hex>``: the region routes the look-up to one database. Keys made by the
predecessor, ``hlk_{co|ws}_<48 hex>``, have none.
"""

from __future__ import annotations

import hmac
import re
from enum import StrEnum
from typing import NamedTuple

from schemas.topics import Region

ENTROPY_BYTES = 24
HASH_BYTES = 32
# 8 of the 48 digits: enough to tell a company's keys apart, 160 bits short of the key.
_SHOWN_DIGITS = 8
_KEY = re.compile(r"hlk_(?:(us|eu|uk|au)_)?(co|ws)_[0-9a-f]{48}", re.ASCII).fullmatch


class Scope(StrEnum):
    """What a key is good for: a whole company, or one workspace."""

    COMPANY = "co"
    WORKSPACE = "ws"


class KeyName(NamedTuple):
    """What a key's text says of it. ``region`` is ``None`` for legacy keys."""

    region: Region | None
    scope: Scope


def make_key(region: Region, scope: Scope, entropy: bytes) -> str:
    """The text of a new key from 24 random bytes. Raises ``ValueError`` for another length."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a key takes {ENTROPY_BYTES} random bytes")
    return f"hlk_{region.lower()}_{scope.value}_{entropy.hex()}"


def parse_key(text: str) -> KeyName:
    """Region and scope of a key. Raises ``ValueError``, which never quotes the text, when it is not one."""
    match = _KEY(text)
    if match is None:
        raise ValueError("not an API key")
    region, scope = match.groups()
    return KeyName(Region(region.upper()) if region else None, Scope(scope))


def hash_key(secret: bytes, key: str) -> bytes:
    """HMAC-SHA256(secret, key), 32 bytes: the only form in which a key is stored."""
    return hmac.digest(secret, key.encode(), "sha256")


def key_prefix(key: str) -> str:
    """The key's first characters, to tell keys apart by eye: everything up to its eighth hex digit."""
    return key[: _SHOWN_DIGITS - 2 * ENTROPY_BYTES]
