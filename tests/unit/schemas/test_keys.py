"""API keys: their names route a look-up, and only their HMAC is ever stored."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keys import ENTROPY_BYTES, KeyName, Scope, hash_key, key_prefix, make_key, parse_key
from schemas.topics import Region


@given(st.sampled_from(Region), st.sampled_from(Scope), st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_a_made_key_says_its_region_and_scope(region: Region, scope: Scope, entropy: bytes) -> None:
    assert parse_key(make_key(region, scope, entropy)) == KeyName(region, scope)


def test_the_format_is_the_contracts() -> None:
    assert make_key(Region.UK, Scope.WORKSPACE, bytes(24)) == "hlk_uk_ws_" + "0" * 48


def test_a_legacy_key_has_no_region() -> None:
    assert parse_key("hlk_co_" + "a" * 48) == KeyName(None, Scope.COMPANY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hlk_us_ws_" + "a" * 47,
        "hlk_us_ws_" + "a" * 49,
        "hlk_us_ws_" + "A" * 48,
        "hlk_fr_ws_" + "a" * 48,
        "hlk_us_xx_" + "a" * 48,
        "hlk_us_ws_" + "a" * 48 + "\n",
        "hlk_us_ws_" + "٣" * 48,
    ],
)
def test_anything_else_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an API key$"):
        parse_key(text)


def test_a_key_of_too_little_entropy_is_not_made() -> None:
    with pytest.raises(ValueError, match="24 random bytes"):
        make_key(Region.US, Scope.COMPANY, bytes(16))


def test_a_key_is_stored_as_its_hmac() -> None:
    key = make_key(Region.US, Scope.COMPANY, bytes(24))
    assert hash_key(b"secret", key) == hmac.new(b"secret", key.encode(), hashlib.sha256).digest()


def test_the_prefix_shows_scope_and_eight_digits() -> None:
    assert key_prefix(make_key(Region.EU, Scope.WORKSPACE, bytes(range(24)))) == "hlk_eu_ws_00010203"
