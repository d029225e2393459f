"""The archive's format in plain code, to check ours against: hashlib, hmac, base64, AES-GCM, by ops/docs/archive-format.md."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.schemas import plain


def seal(salt: bytes, value: bytes) -> bytes:
    """A group's ciphertext and tag."""
    return AESGCM(sha256(b"hyrelog-seal-v1" + salt).digest()).encrypt(bytes(12), value, None)


def event_line(leaf: str, salts: Mapping[str, bytes | None], values: Mapping[str, str | None]) -> str:
    """An event's line: its leaf as text, and by group the salt and the canonical JSON; ``None`` for what is absent or erased."""
    sealed = {name: _base64_of_sealed(salts[name], values[name]) for name in plain.GROUPS}
    return plain.dumps({"hash": plain.leaf_hash(leaf.encode()), "leaf": json.loads(leaf), "sealed": sealed}).decode()


def _base64_of_sealed(salt: bytes | None, value: str | None) -> str | None:
    return None if salt is None or value is None else b64encode(seal(salt, value.encode())).decode()


def salts(found: Mapping[str, bytes | None], erased_at: int) -> bytes:
    """What stands for an event in the object of salts, before it is encrypted."""
    return b"".join(found[name] or bytes(16) for name in plain.GROUPS) + erased_at.to_bytes(8, "big", signed=True)


def hkdf_expand(key: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-Expand with SHA-256 (RFC 5869 §2.3): its first block is all that is needed."""
    return hmac.digest(key, info + b"\x01", "sha256")


def keys_line(data_key: bytes, name: str, generation: int, number: int, content: bytes) -> str:
    """A line of an object of salts; ``number`` counts from 0."""
    key = hkdf_expand(data_key, b"hyrelog-keys-v1\x00" + name.encode() + b"\x00" + str(generation).encode())
    return b64encode(AESGCM(key).encrypt(number.to_bytes(12, "big"), content, None)).decode()


def keys_header(name: str, generation: int) -> str:
    """Its first line."""
    return plain.dumps({"v": 1, "object": name, "generation": generation}).decode()


def stem(company: str, day: str, part: int) -> str:
    """What the names of a part's two objects begin with."""
    number = "" if part == 1 else "-" + str(part).rjust(4, "0")
    return "/".join(["archives", company, *day.split("-"), "events"]) + number


def tile_path(index: int, width: int) -> str:
    """tlog-tiles: three digits an element, all but the last with an x before them."""
    elements = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        elements.insert(0, f"x{index % 1000:03d}")
    return "tile/0/" + "/".join(elements) + ("" if width == 256 else f".p/{width}")
