"""Which addresses are plainly public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.public import is_public

V4 = st.ip_addresses(v=4)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_the_internet_is(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_what_python_knows_as_special_is_not(address: IPv4Address | IPv6Address) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    if special or (isinstance(address, IPv6Address) and address.is_site_local):
        assert not is_public(address)


@given(V4)
def test_an_ipv4_address_in_ipv6_clothes_is_not(inner: IPv4Address) -> None:
    number = int(inner)
    disguises = {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "6to4": 0x2002 << 112 | number << 80,
        "NAT64": 0x64FF9B << 96 | number,
        "local NAT64": 0x64FF9B0001 << 80 | number,
        "Teredo": 0x20010000 << 96 | number ^ 0xFFFFFFFF,
        "translated": 0xFFFF << 48 | number,
    }
    assert [name for name, made in disguises.items() if is_public(IPv6Address(made))] == []


@pytest.mark.parametrize("address", ["168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.169.254", "fd00:ec2::254", "fd20:ce::254"])
def test_the_clouds_metadata_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
