"""The archive's lines: an event whose groups are sealed, and apart from it the salts that open them (contract §7; ops/docs/archive.md).

A line of events holds the exact leaf, so whoever has nothing else verifies the whole chain: SHA-256(0x00 ‖ leaf) is the hash. Each group
is sealed under a key made of its own salt. The salts are in another object, encrypted line by line under the company's data key; whoever
deletes one there has erased the group wherever its sealed bytes are kept.

Both give the same bytes for the same event, so that writing a part again can be told from writing another one.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from schemas.event import GROUPS, SALT_BYTES, Group, StoredEvent, to_micros
from schemas.leaf import leaf_of

SEAL_VERSION: Final = 1
DATA_KEY_BYTES: Final = 32
_LABEL: Final = b"hyrelog-seal-v1"
_KEYS_LABEL: Final = b"hyrelog-keys-v1\0"
_ZERO_NONCE: Final = bytes(12)
"""A key made of a salt seals one message, so its nonce need not differ (NIST SP 800-38D §8.3)."""
_NO_SALT: Final = bytes(SALT_BYTES)
_SALTS_BYTES: Final = len(GROUPS) * SALT_BYTES
_TIME_BYTES: Final = 8
_NULL: Final = b"null"
_LINE: Final = b'{"hash":"%b","leaf":%b,"sealed":{"actor":%b,"context":%b,"metadata":%b,"resource":%b}}'
_LEAF_AT: Final = len(b'{"hash":"') + 64 + len(b'","leaf":')
_SEALED: Final = b',"sealed":{"actor":'
_KINDS: Final = frozenset((str, int, type(None)))
"""Of a leaf's values."""


class Unopenable(ValueError):
    """The line is none of an archive's, or what it holds does not open with the salts given for it."""


class SealedLine(NamedTuple):
    """An event as a line of an archive tells it: all but the values of its groups."""

    leaf: bytes
    """Exactly what was hashed."""
    hash: bytes
    fields: dict[str, Any]
    """The leaf's members."""
    sealed: dict[str, bytes | None]
    """By group: ciphertext and tag; ``None`` where the group is absent or erased."""


def seal_group(sealed: bytes) -> bytes:
    """A group's salt ‖ value as ciphertext ‖ tag: AES-256-GCM, key = SHA-256("hyrelog-seal-v1" ‖ salt), zero nonce, no associated data."""
    return AESGCM(sha256(_LABEL + sealed[:SALT_BYTES]).digest()).encrypt(_ZERO_NONCE, sealed[SALT_BYTES:], None)


def open_group(salt: bytes, ciphertext: bytes) -> bytes:
    """The value that was sealed under the salt. Raises ``Unopenable``."""
    try:
        return AESGCM(sha256(_LABEL + salt).digest()).decrypt(_ZERO_NONCE, ciphertext, None)
    except (InvalidTag, ValueError):
        raise Unopenable("a group does not open with its salt") from None


def event_line(event: StoredEvent) -> bytes:
    """The event's line, without its line feed: canonical JSON (RFC 8785) of ``{hash, leaf, sealed}``."""
    return _LINE % (
        event.hash.hex().encode(),
        leaf_of(event),
        _sealed(event.actor),
        _sealed(event.context),
        _sealed(event.metadata),
        _sealed(event.resource),
    )


def salts_of(event: StoredEvent) -> bytes:
    """The salts of actor, resource, context and metadata, 16 bytes each; zeros where there is none, or none any more.

    Behind them ``erasedAt``: 8 bytes, signed, big-endian, microseconds since 1970; 0 where nothing was erased.
    """
    return b"".join(_salt(getattr(event, name)) for name in GROUPS) + (event.erased_at or 0).to_bytes(_TIME_BYTES, signed=True)


def read_line(line: bytes) -> SealedLine:
    """Take a line of events apart. The leaf is cut out, not built again: what is hashed is what stands there. Raises ``Unopenable``.

    Only the one way of writing a line is admitted (RFC 8785), so that equal lines are equal bytes.
    """
    try:
        parsed = orjson.loads(line)
        leaf = line[_LEAF_AT : line.rindex(_SEALED)]
        fields = orjson.loads(leaf)
        texts = parsed["sealed"]
        found = SealedLine(leaf, bytes.fromhex(parsed["hash"]), fields, {name: _opened(texts[name]) for name in GROUPS})
        kinds = set(map(type, fields.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unopenable(f"not a line of an archive: {type(error).__name__}") from None
    sealed = (_quoted(found.sealed[name]) for name in sorted(GROUPS))
    # Sorted orjson is RFC 8785 for these kinds of values; the only keys beyond ASCII would be none of a leaf's.
    written = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    if not kinds <= _KINDS or line != _LINE % (found.hash.hex().encode(), written, *sealed):
        raise Unopenable("not a line of an archive: it is written otherwise")
    return found


def restored(line: SealedLine, salts: bytes) -> StoredEvent:
    """The event again, with what stands for it in the other object (``salts_of``). A group that has no salt any more is erased.

    Its source offset and index, which no archive holds, are 0. Raises ``Unopenable``.
    """
    fields = line.fields
    try:
        groups = [_group(fields[f"{name}Commitment"], line.sealed[name], salts[at : at + SALT_BYTES]) for name, at in _PLACES]
        return StoredEvent(
            seq=fields["seq"],
            prev_hash=bytes.fromhex(fields["prevHash"]),
            hash=line.hash,
            source_offset=0,
            source_index=0,
            id=fields["id"],
            company_id=fields["companyId"],
            workspace_id=fields["workspaceId"],
            project_id=fields["projectId"],
            tenant_id=fields["tenantId"],
            data_region=fields["dataRegion"],
            timestamp=micros_of(fields["timestamp"]),
            received_at=micros_of(fields["receivedAt"]),
            category=fields["category"],
            action=fields["action"],
            outcome=fields["outcome"],
            trace_id=fields["traceId"],
            actor=groups[0],
            resource=groups[1],
            context=groups[2],
            metadata=groups[3],
            erased_at=int.from_bytes(salts[_SALTS_BYTES:], signed=True) or None,
            v=fields["v"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, Unopenable) else Unopenable(f"a leaf lacks what it has to hold: {type(error).__name__}") from None


class Salts:
    """Encrypts and decrypts the lines of one object of salts, each under its number."""

    def __init__(self, data_key: bytes, name: str, generation: int) -> None:
        """``name`` is the key of the object of events. A generation is written once: whoever takes salts out writes the next one.

        The object's key is HKDF-Expand(data key, "hyrelog-keys-v1" ‖ 0x00 ‖ name ‖ 0x00 ‖ generation in decimal) (RFC 5869 §2.3; the data
        key is random, so nothing is to be extracted).
        """
        info = _KEYS_LABEL + name.encode() + b"\0%d" % generation
        self._cipher = AESGCM(HKDFExpand(hashes.SHA256(), 32, info).derive(data_key))

    def encrypt(self, number: int, salts: bytes) -> bytes:
        """The line of that number (from 0), without its line feed: base64 of ciphertext ‖ tag. The nonce is the number, big-endian."""
        return b2a_base64(self._cipher.encrypt(number.to_bytes(12), salts, None), newline=False)

    def decrypt(self, number: int, line: bytes) -> bytes:
        """What ``salts_of`` gave for the event of that line. Raises ``Unopenable``."""
        try:
            salts = self._cipher.decrypt(number.to_bytes(12), a2b_base64(line, strict_mode=True), None)
        except (InvalidTag, ValueError):
            raise Unopenable(f"the salts of line {number + 1} can't be decrypted") from None
        if len(salts) != _SALTS_BYTES + _TIME_BYTES:
            raise Unopenable(f"line {number + 1} holds no four salts and a time")
        return salts


def keys_header(name: str, generation: int) -> bytes:
    """The first line of an object of salts: which events they are of."""
    return orjson.dumps({"generation": generation, "object": name, "v": SEAL_VERSION})


def read_header(line: bytes) -> tuple[str, int]:
    """Name of the object of events, and generation. Raises ``Unopenable``."""
    try:
        header = orjson.loads(line)
        name, generation, version = header["object"], header["generation"], header["v"]
    except (ValueError, KeyError, TypeError):
        raise Unopenable("not an object of salts") from None
    if version != SEAL_VERSION or type(generation) is not int or not isinstance(name, str):
        raise Unopenable("an object of salts in a layout unknown here")
    return name, generation


def micros_of(text: str) -> int:
    """Microseconds since 1970 of a time as every leaf writes it (``format_time``). Raises ``ValueError``."""
    if len(text) != 27 or text[19] != "." or text[26] != "Z":
        raise ValueError("not a time of a leaf")
    return _second(text[:19]) + int(text[20:26])


@lru_cache(maxsize=4096)
def _second(text: str) -> int:
    return to_micros(datetime.fromisoformat(text + "+00:00"))


_PLACES: Final = tuple((name, at * SALT_BYTES) for at, name in enumerate(GROUPS))


def _sealed(group: Group | None) -> bytes:
    return _quoted(None if group is None or group.sealed is None else seal_group(group.sealed))


def _quoted(ciphertext: bytes | None) -> bytes:
    return _NULL if ciphertext is None else b'"%b"' % b2a_base64(ciphertext, newline=False)


def _salt(group: Group | None) -> bytes:
    return _NO_SALT if group is None or group.sealed is None else group.sealed[:SALT_BYTES]


def _opened(text: str | None) -> bytes | None:
    return None if text is None else a2b_base64(text, strict_mode=True)


def _group(commitment: str | None, ciphertext: bytes | None, salt: bytes) -> Group | None:
    if commitment is None:
        if ciphertext is not None or salt != _NO_SALT:
            raise Unopenable("there is a sealed group, or its salt, that nothing commits to")
        return None
    if salt == _NO_SALT:
        return Group(bytes.fromhex(commitment), None)
    if ciphertext is None:
        raise Unopenable("a group has a salt and is not there")
    sealed = salt + open_group(salt, ciphertext)
    found = sha256(sealed).digest()
    if found.hex() != commitment:
        raise Unopenable("a group is not what was committed to")
    return Group(found, sealed)
