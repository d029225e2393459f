"""What ingest adds to an event by itself: the request's context and randomness."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ingest.accept import RandomPool, request_context


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


def test_no_randomness_is_given_out_twice() -> None:
    """A salt that came twice would tell that two groups are equal."""
    pool = RandomPool()
    taken = [pool.take(size) for size in (74, 1, 8192, 74) * 200]
    assert [len(each) for each in taken] == [74, 1, 8192, 74] * 200
    salts = [each for each in taken if len(each) > 1]
    assert len(set(salts)) == len(salts)
    joined = b"".join(salts)
    windows = {joined[start : start + 16] for start in range(0, len(joined) - 16, 16)}
    assert len(windows) == len(range(0, len(joined) - 16, 16))
