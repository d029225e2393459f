"""Secrets at rest: AES-256-GCM under a key that is named beside it, bound to what they belong to.

Sealed: 4 bytes of key id (SHA-256 of the key) ‖ 12 bytes of nonce ‖ ciphertext ‖ 16 bytes of tag. The owner's id is the
associated data, so that a sealed secret that is moved to another row does not open there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ops.settings import Settings

KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12


class Unsealable(ValueError):
    """What is stored was sealed with a key that is not at hand, for another owner, or was changed since."""


class Sealer:
    """Seals with the first of its keys, opens with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Keys of 32 bytes. Raises ``ValueError`` for other lengths, or none."""
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"keys of {KEY_BYTES} bytes are needed")
        self.key_id = _key_id(keys[0])
        """How what is sealed now begins."""
        # The first one wins should two have one id: 4 bytes name keys, they do not prove them.
        self._ciphers = {_key_id(key): AESGCM(key) for key in reversed(keys)}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With WEBHOOK_SECRET_ENCRYPTION_KEY and its predecessor."""
        return cls._of(settings, "webhook_secret_encryption_key")

    @classmethod
    def of_archive(cls, settings: Settings) -> Self:
        """With ARCHIVE_KEY and its predecessor: what companies' data keys are wrapped with."""
        return cls._of(settings, "archive_key")

    @classmethod
    def _of(cls, settings: Settings, name: str) -> Self:
        return cls([bytes.fromhex(key.decode()) for key in settings.secrets(name)])

    def seal(self, text: bytes, bound_to: str) -> bytes:
        """The text sealed for the owner of that id."""
        nonce = os.urandom(_NONCE_BYTES)
        return self.key_id + nonce + self._ciphers[self.key_id].encrypt(nonce, text, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """The text that was sealed for the owner of that id. Raises ``Unsealable``."""
        cipher = self._ciphers.get(sealed[:_KEY_ID_BYTES])
        if cipher is None:
            raise Unsealable("sealed with a key that is not at hand")
        nonce, rest = sealed[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, rest, bound_to.encode())
        except (InvalidTag, ValueError):  # ValueError: a nonce cut short
            raise Unsealable("sealed for another, or changed since") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the key that seals now."""
        return sealed[:_KEY_ID_BYTES] == self.key_id


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
