"""The compose files: complete, and without a secret in them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.addresses import network
from ops.settings import Settings

_ROOT = Path(__file__).parents[3]
_COMPOSE = _ROOT / "compose"
_TEXT = (_COMPOSE / "compose.yaml").read_text()
_SECRETS = (
    "API_KEY_SECRET",
    "INTERNAL_TOKEN",
    "DASHBOARD_SERVICE_TOKEN",
    "CURSOR_SECRET",
    "IDEMPOTENCY_SECRET",
    "WEBHOOK_SECRET_ENCRYPTION_KEY",
    "ARCHIVE_KEY",
)
_PREVIOUS = tuple(f"{name}_PREVIOUS" for name in _SECRETS)
_OPTIONAL = ("DASHBOARD_ADMIN_TOKEN", "DASHBOARD_ADMIN_TOKEN_PREVIOUS")
_OURS = ("prepare", "ingest", "api", "worker", "relay", "search", "webhooks", "archive-sink", "scheduler", "operator")
_SECRET = "b7c1e0d94a2f68350c9e71d2f4a6b8e3" * 2
_SECRET_NAMES = re.compile(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY|ARCHIVE_KEY|DATABASE_URL|STORE_URL")


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(_TEXT)
    return loaded


def test_it_runs_the_parts_of_the_embedded_stack(compose: dict[str, Any]) -> None:
    servers = {"kafka", "postgres", "s3", "valkey"}
    assert set(compose["services"]) == servers | {*_OURS, "proxy"}


def test_a_secret_has_no_default_and_stops_compose_when_it_is_missing(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if _SECRET_NAMES.search(variable) and variable not in (*_PREVIOUS, *_OPTIONAL):
                assert re.search(r"\$\{\w+:\?\}", value), f"{name}: {variable}"
    assert ":-" not in _TEXT


def test_a_secret_can_be_rotated(compose: dict[str, Any]) -> None:
    """A variable without a value is the caller's, and not there while he sets none: were it empty, no process would start."""
    for name in _OURS:
        environment = compose["services"][name]["environment"]
        assert {variable: environment[variable] for variable in (*_PREVIOUS, *_OPTIONAL)} == dict.fromkeys((*_PREVIOUS, *_OPTIONAL))


def test_the_example_names_every_variable_and_sets_none() -> None:
    used = set(re.findall(r"\$\{(\w+)", _TEXT))
    lines = [line for line in (_COMPOSE / "env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert {line.rstrip("=") for line in lines} == used
    assert all(line.endswith("=") for line in lines)


def test_each_service_has_its_own_database_role(compose: dict[str, Any]) -> None:
    """One that is taken over can do what its own job needs, and no more."""
    created = re.findall(r"CREATE ROLE (\w+) LOGIN", (_COMPOSE / "postgres-init.sh").read_text())
    users = {
        name: {re.findall(r"//(\w+):", url)[0] for variable, url in service["environment"].items() if variable.startswith("DATABASE_URL_")}
        for name, service in compose["services"].items()
        if "DATABASE_URL_US" in service.get("environment", {})
    }
    assert all(len(names) == 1 for names in users.values())
    assert len(users) == len(set().union(*users.values()))
    assert set().union(*users.values()) == set(created)


def test_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_who_serves_requests_counts_with_the_others_and_believes_the_proxy_alone(compose: dict[str, Any]) -> None:
    """Were all of the network trusted, a client could name an origin of its choice: Docker's gateway stands between it and the proxy."""
    proxy = compose["services"]["proxy"]["networks"]["default"]["ipv4_address"]
    for name in ("ingest", "api"):
        environment = compose["services"][name]["environment"] | {each: f"{place:02x}{_SECRET[2:]}" for place, each in enumerate(_SECRETS)}
        settings = Settings(**{variable.lower(): value for variable, value in environment.items()})
        assert settings.trusted_proxies == (network(proxy),)
        assert settings.rate_limit_store_url is not None


def test_the_proxy_has_an_address_that_nobody_else_is_given(compose: dict[str, Any]) -> None:
    (config,) = compose["networks"]["default"]["ipam"]["config"]
    proxy = IPv4Address(compose["services"]["proxy"]["networks"]["default"]["ipv4_address"])
    assert proxy in IPv4Network(config["subnet"])
    assert proxy not in IPv4Network(config["ip_range"])


def test_every_file_it_mounts_is_there(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":")[0] for service in compose["services"].values() for mount in service.get("volumes", ())]
    assert all((_COMPOSE / mount).exists() for mount in mounts if mount.startswith("."))


def test_broker_and_store_are_those_of_the_embedded_stack(compose: dict[str, Any]) -> None:
    """What the tests ran on is what compose runs."""
    maven = "{http://maven.apache.org/POM/4.0.0}"
    kafka = ET.parse(_ROOT / "pom.xml").findtext(f"{maven}properties/{maven}kafka.version")
    store = re.search(r'VERSITYGW_VERSION = "(.+)"', (_ROOT / "ops/local/tools.py").read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert store is not None
    assert compose["services"]["s3"]["image"] == f"versity/versitygw:{store[1]}"


def test_the_proxy_sends_posted_events_to_ingest_alone() -> None:
    routes = dict(re.findall(r'^\s*(?:"(.+?)"|default)\s+http://(\w+);', (_COMPOSE / "nginx.conf").read_text(), re.MULTILINE))
    assert routes == {"": "api", "POST /v1/events": "ingest", "POST /v1/events/batch": "ingest"}
