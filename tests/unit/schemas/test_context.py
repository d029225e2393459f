"""The context group of a request: what is known of the client, canonical."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from schemas.context import request_context


@pytest.mark.parametrize(
    ("address", "agent", "context"),
    [
        (None, None, None),
        ("", b"", None),
        ("203.0.113.7", None, b'{"ipAddress":"203.0.113.7"}'),
        (None, b"curl/8", b'{"userAgent":"curl/8"}'),
        ("::1", b'a "b" \\', b'{"ipAddress":"::1","userAgent":"a \\"b\\" \\\\"}'),
        (None, b"caf\xe9", '{"userAgent":"café"}'.encode()),
        (None, b"x" * 600, b'{"userAgent":"%b"}' % (b"x" * 512)),
    ],
)
def test_the_context_is_what_is_known_of_the_client(address: str | None, agent: bytes | None, context: bytes | None) -> None:
    assert request_context(address, agent) == context


@given(st.none() | st.ip_addresses().map(str), st.none() | st.binary(max_size=600).filter(lambda agent: b"\0" not in agent))
def test_it_is_canonical(address: str | None, agent: bytes | None) -> None:
    context = request_context(address, agent)
    members = {"ipAddress": address, "userAgent": agent and agent.decode("latin-1")[:512]}
    expected = {name: value for name, value in members.items() if value}
    assert context == (rfc8785.dumps(expected) if expected else None)
