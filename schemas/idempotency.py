"""When two events under one idempotency key are the same: their contents, compared without keeping them (contract §2).

The content is the event's canonical JSON (RFC 8785) as sent, without the key. Only its HMAC is kept: a plain hash
would let whoever reads the database test guesses at personal data that was erased.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

MAC_BYTES = 32


def content_hashes(secrets: Sequence[bytes], content: bytes) -> bytes:
    """The content's HMAC-SHA256 under each secret, joined: one, or two while the secret is rotated."""
    return b"".join(hmac.digest(secret, content, "sha256") for secret in secrets)


def is_same_content(one: bytes, other: bytes) -> bool:
    """Whether two ``content_hashes`` are of one content: under a secret that both have, they are equal."""
    return one == other or not _macs(one).isdisjoint(_macs(other))


def _macs(hashes: bytes) -> set[bytes]:
    return {hashes[at : at + MAC_BYTES] for at in range(0, len(hashes), MAC_BYTES)}
