"""Which coding a client gets, and that any cutting of the content comes out whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from api.exports.coding import chosen, coder

DECODE: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().stream_reader(body).read(),
}


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate, gzip, br, zstd", "zstd"),
        ("zstd;q=0.1, gzip;q=0.9", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *", "zstd"),
        ("*;q=0", "identity"),
        ("br", "identity"),
        ("identity", "identity"),
        ("identity;q=0.5, gzip;q=0.2", "identity"),
        ("gzip;q=nonsense", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip;q=7", "identity"),
        (",;, ;q=1", "identity"),
    ],
)
def test_the_clients_weights_decide(accepted: str | None, expected: str) -> None:
    assert chosen(accepted) == expected


@given(st.text(max_size=40))
def test_any_header_has_an_answer(accepted: str) -> None:
    assert chosen(accepted) in DECODE


@given(st.lists(st.binary(max_size=200)), st.sampled_from(sorted(DECODE)))
def test_what_was_encoded_in_pieces_decodes_as_one(pieces: list[bytes], coding: str) -> None:
    one = coder(coding)
    body = b"".join([*map(one.compress, pieces), one.flush()])
    assert DECODE[coding](body) == b"".join(pieces)
