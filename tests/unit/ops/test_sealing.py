"""Sealed secrets: who opens them, and who does not."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.sealing import Sealer, Unsealable
from tests.unit.ops.test_settings import settings

NEW, OLD = bytes(range(32)), bytes(range(32, 64))
OWNER, OTHER = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
TEXT = b"whsec_of-somebody"


@given(st.binary(max_size=100), st.text(max_size=40))
def test_what_was_sealed_opens_for_its_owner(text: bytes, owner: str) -> None:
    assert Sealer([NEW]).open(Sealer([NEW]).seal(text, owner), owner) == text


def test_is_key_id_nonce_ciphertext_and_tag() -> None:
    sealed = Sealer([NEW]).seal(TEXT, OWNER)
    assert sealed[:4] == hashlib.sha256(NEW).digest()[:4]
    assert len(sealed) == 4 + 12 + len(TEXT) + 16
    assert TEXT not in sealed


def test_is_another_each_time() -> None:
    sealer = Sealer([NEW])
    assert len({sealer.seal(TEXT, OWNER)[4:16] for _ in range(100)}) == 100


def test_in_another_row_it_does_not_open() -> None:
    with pytest.raises(Unsealable):
        Sealer([NEW]).open(Sealer([NEW]).seal(TEXT, OWNER), OTHER)


@given(st.integers(0, 4 + 12 + len(TEXT) + 16 - 1), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_noticed(at: int, change: int) -> None:
    sealed = bytearray(Sealer([NEW]).seal(TEXT, OWNER))
    sealed[at] ^= change
    with pytest.raises(Unsealable):
        Sealer([NEW]).open(bytes(sealed), OWNER)


@given(st.integers(0, 4 + 12 + len(TEXT) + 16 - 1))
def test_what_was_cut_short_does_not_open(length: int) -> None:
    with pytest.raises(Unsealable):
        Sealer([NEW]).open(Sealer([NEW]).seal(TEXT, OWNER)[:length], OWNER)


def test_the_previous_key_opens_and_does_not_seal() -> None:
    old = Sealer([OLD]).seal(TEXT, OWNER)
    both = Sealer([NEW, OLD])
    assert both.open(old, OWNER) == TEXT
    assert not both.is_current(old)
    assert both.is_current(both.seal(TEXT, OWNER))
    with pytest.raises(Unsealable):
        Sealer([NEW]).open(old, OWNER)


@pytest.mark.parametrize("keys", [[], [bytes(31)], [NEW, bytes(33)]])
def test_takes_keys_of_32_bytes(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(keys)


def test_the_settings_keys_are_hex_the_current_one_first() -> None:
    before = settings(webhook_secret_encryption_key=OLD.hex())
    after = settings(webhook_secret_encryption_key=NEW.hex(), webhook_secret_encryption_key_previous=OLD.hex())
    assert Sealer.of(after).open(Sealer.of(before).seal(TEXT, OWNER), OWNER) == TEXT
    assert Sealer([NEW]).open(Sealer.of(after).seal(TEXT, OWNER), OWNER) == TEXT
