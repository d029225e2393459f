"""Client addresses: whose word counts, and who is in an allowlist."""

from __future__ import annotations

import tracemalloc
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.addresses import Proxies, allows, holder, network

PROXIES = Proxies([network("10.0.0.0/8"), network("fd00::/8")])
ADDRESSES = st.ip_addresses().map(str)


def seen(peer: str | None, *forwarded: str, proxies: Proxies = PROXIES) -> str:
    """The client's address; one header line for each text."""
    headers = [(b"host", b"x"), *((b"x-forwarded-for", line.encode("latin-1")) for line in forwarded)]
    return proxies.client_address({"client": None if peer is None else (peer, 1), "headers": headers})


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::7"])
def test_what_a_stranger_says_of_others_does_not_count(peer: str) -> None:
    assert seen(peer, "203.0.113.1") == peer
    assert seen(peer, "203.0.113.1", proxies=Proxies(())) == peer


def test_a_trusted_proxy_is_believed() -> None:
    assert seen("10.0.0.1", "203.0.113.1") == "203.0.113.1"
    assert seen("fd00::1", "2001:DB8:0:0::1") == "2001:db8::1"


def test_the_right_most_hop_that_is_not_trusted_is_the_client() -> None:
    """All left of it is the client's own word."""
    assert seen("10.0.0.1", "1.1.1.1, 203.0.113.1 ,10.2.3.4") == "203.0.113.1"
    assert seen("10.0.0.1", "nonsense, 203.0.113.1") == "203.0.113.1"


def test_several_header_lines_are_one_list() -> None:
    assert seen("10.0.0.1", "1.1.1.1", "203.0.113.1", "10.9.9.9") == "203.0.113.1"
    assert seen("10.0.0.1", "203.0.113.1", "1.1.1.1") == "1.1.1.1"


def test_a_chain_of_none_but_proxies_began_at_its_left_end() -> None:
    assert seen("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


@pytest.mark.parametrize(
    "nonsense", ["unknown", "", "203.0.113.1:80", "203.0.113.1,", "1.2.3", "010.0.0.1", "[2001:db8::1]", "\xff", "9" * 9000]
)
def test_what_can_not_be_read_leaves_the_peer(nonsense: str) -> None:
    assert seen("10.0.0.1", nonsense) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "line"),
    [("192.0.2.7", "203.0.113.1, {}"), ("10.0.0.1", "{}"), ("10.0.0.1", "{}, 203.0.113.1"), ("10.0.0.1", "fe80::1%{}")],
    ids=["from a stranger", "nonsense", "left of the client", "the zone of an address"],
)
def test_long_headers_do_not_stay_in_memory(peer: str, line: str) -> None:
    proxies = Proxies([network("10.0.0.0/8")])
    tracemalloc.start()
    try:
        for number in range(100):
            seen(peer, line.format(f"{number:05}" * 10_000), proxies=proxies)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000


def test_a_list_too_long_to_remember_is_still_read() -> None:
    for _ in range(2):
        assert seen("10.0.0.1", "1.1.1.1, " * 100 + "203.0.113.1, 10.9.9.9") == "203.0.113.1"


def test_a_mapped_address_is_the_ipv4_address() -> None:
    assert seen("::ffff:192.0.2.7") == "192.0.2.7"
    assert seen("::ffff:192.0.2.7", proxies=Proxies(())) == "192.0.2.7"
    assert seen("::ffff:10.0.0.1", "::ffff:203.0.113.1") == "203.0.113.1"
    assert allows((network("192.0.2.0/24"),), "::ffff:192.0.2.7")
    assert allows((network("::ffff:192.0.2.0/120"),), "192.0.2.7")


def test_without_a_peer_there_is_no_address() -> None:
    assert seen(None, "203.0.113.1") == ""
    assert not allows((network("0.0.0.0/0"), network("::/0")), "")


def test_proxies_may_be_named_as_mapped_addresses() -> None:
    assert seen("10.0.0.1", "203.0.113.1", proxies=Proxies([network("::ffff:10.0.0.0/104")])) == "203.0.113.1"


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_ipv4_allowlist_is_about_the_leading_bits(address: IPv4Address, bits: int) -> None:
    entry = (network(f"{address}/{bits}"),)
    assert allows(entry, str(address))
    assert allows(entry, f"::ffff:{address}")
    if bits:
        outside = IPv4Address(int(address) ^ 1 << 32 - bits)
        assert not allows(entry, str(outside))


@given(st.ip_addresses(v=6))
def test_an_ipv6_site_is_one_holder(address: IPv6Address) -> None:
    if address.ipv4_mapped is None:
        assert holder(str(address)) == holder(str(IPv6Address(int(address) ^ (1 << 64) - 1)))
        assert holder(str(address)) != holder(str(IPv6Address(int(address) ^ 1 << 64)))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_a_holder_of_its_own(address: IPv4Address) -> None:
    assert holder(str(address)) == str(address)


@given(st.text(max_size=60), st.lists(st.one_of(ADDRESSES, st.text(max_size=20)), max_size=4))
def test_no_header_breaks_it(peer: str, hops: list[str]) -> None:
    line = ",".join(hops).encode("utf-8", "replace").decode("latin-1")
    assert isinstance(seen(peer, line), str)
    assert isinstance(seen("10.0.0.1", line), str)
