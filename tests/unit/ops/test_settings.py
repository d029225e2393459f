"""Settings that are lists, and what they refuse."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest
from pydantic import ValidationError

from ops.settings import Settings

SECRETS = {
    name: f"{name}-" + "0a1b2c3d4e5f6071" * 2 for name in ("api_key_secret", "internal_token", "cursor_secret", "idempotency_secret")
} | dict.fromkeys(("webhook_secret_encryption_key", "archive_key"), "0a1b2c3d4e5f6071" * 4)


def settings(**values: Any) -> Settings:
    return Settings.model_validate(SECRETS | values)


def test_trusted_proxies_are_addresses_and_networks() -> None:
    assert settings().trusted_proxies == ()
    found = settings(trusted_proxies=" 10.0.0.0/8, ::1 ,::ffff:192.0.2.1,").trusted_proxies
    assert found == (IPv4Network("10.0.0.0/8"), IPv6Network("::1/128"), IPv4Network("192.0.2.1/32"))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9"])
def test_a_proxy_that_is_neither_stops_the_process(text: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        settings(trusted_proxies=text)


def test_the_address_of_the_shared_store_is_not_shown() -> None:
    """It may hold a password."""
    assert "hunter2" not in repr(settings(rate_limit_store_url="valkey://:hunter2@store:6379/0"))


def test_an_exemption_is_a_network_with_a_port() -> None:
    found = settings(egress_allow="127.0.0.1:3001, [fd00::/8]:443,10.1.0.0/16:8443").egress_allow
    assert [(str(each.network), each.port) for each in found] == [("127.0.0.1/32", 3001), ("fd00::/8", 443), ("10.1.0.0/16", 8443)]


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "fd00::/8:443", "localhost:3001", ":443", "[::1]", "*:443"]
)
def test_an_exemption_without_either_stops_the_process(text: str) -> None:
    with pytest.raises(ValidationError, match="egress_allow"):
        settings(egress_allow=text)


@pytest.mark.parametrize("key", ["0a1b2c3d4e5f6071" * 3, "0a1b2c3d4e5f607g" * 4, "0" * 64])
@pytest.mark.parametrize("name", ["webhook_secret_encryption_key", "archive_key"])
def test_a_key_that_encrypts_is_64_digits_of_a_kind(name: str, key: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}|{name.upper()}"):
        settings(**{name: key})


def test_pauses_and_ports_are_lists() -> None:
    found = settings(webhook_retry_seconds="0.5,1", egress_ports="443, 8443")
    assert (found.webhook_retry_seconds, found.egress_ports) == ((0.5, 1.0), (443, 8443))


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "",
        "https://s3.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com",
        "https://S3.US-EAST-1.AMAZONAWS.COM",
        "https://s3.amazonaws.com.",
        "https://s3.amazonaws.com:443/",
        "http://s3.amazonaws.com:80",
        "https://bucket.s3.amazonaws.com/path",
        "https://user@s3.amazonaws.com",
        "https://bucket.vpce-0a1b2c3d-4e5f.s3.us-east-1.vpce.amazonaws.com",
        "https://s3.dualstack.ap-southeast-2.amazonaws.com",
        "https://s3.us-east-1.api.aws",
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://s3-fips.us-gov-west-1.amazonaws.com",
        "https://s3.eusc-de-east-1.amazonaws.eu",
        "https://s3\uff0eamazonaws\u3002com",
        "https://s3%2eamazonaws%2ecom",
        "https://amazonaws.com",
        "s3.amazonaws.com",
        "https://",
        "https://[",
    ],
)
def test_nothing_is_simulated_at_aws(endpoint: str | None) -> None:
    """Archives there would be called restored that nobody fetched."""
    with pytest.raises(ValidationError, match="RESTORE_SIMULATED_SECONDS"):
        settings(s3_endpoint=endpoint, restore_simulated_seconds=120)
    assert settings(s3_endpoint=endpoint).restore_simulated_seconds is None


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:7070", "https://s3.example", "http://[::1]:9000", "https://amazonaws.com.example"])
def test_elsewhere_it_may_be(endpoint: str) -> None:
    assert settings(s3_endpoint=endpoint, restore_simulated_seconds="120").restore_simulated_seconds == 120
