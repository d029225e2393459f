"""The settings of each process of the stack: every one in its own database role, with no more than it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from pydantic_settings import BaseSettings

from ops.local.state import State, default_root
from ops.settings import Settings
from schemas.topics import REGIONS, Region

AnySettings = TypeVar("AnySettings", bound=BaseSettings)

_TRACING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER_ARG")
# What a stack's webhooks, tails and restorations may be told otherwise, or nothing, by whoever starts it. Its store has no cold storage.
_TUNING = {"EGRESS_ALLOW": "127.0.0.1:3001", "RESTORE_SIMULATED_SECONDS": "120"} | dict.fromkeys(
    ("WEBHOOK_RETRY_SECONDS", "WEBHOOK_TIMEOUT_SECONDS", "WEBHOOK_LEASE_SECONDS", "WEBHOOK_FAILING_SECONDS", "TAIL_LIFETIME_SECONDS")
)
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "JAVA_HOME",
    "PYTHONPATH",
    "COVERAGE_PROCESS_START",
    *_TRACING,
    *_TUNING,
)
# The stack listens on this machine alone, and its company's plan has no limits either: load can be tried on it.
_LIMITS_OFF = {"IP_REQUESTS_PER_MINUTE": "0", "DASHBOARD_REQUESTS_PER_MINUTE": "0"}
_SECRETS = (
    "API_KEY_SECRET",
    "INTERNAL_TOKEN",
    "DASHBOARD_SERVICE_TOKEN",
    "CURSOR_SECRET",
    "IDEMPOTENCY_SECRET",
    "WEBHOOK_SECRET_ENCRYPTION_KEY",
    "ARCHIVE_KEY",
)


class Role(StrEnum):
    """The login roles of the stack's PostgreSQL; all but the first two are members of a group role of the migrations."""

    SUPERUSER = "hyrelog_superuser"
    OWNER = "hyrelog_owner"
    STREAMS = "streams_local"
    INGEST = "ingest_local"
    API = "api_local"
    AUDITOR = "auditor_local"
    RELAY = "relay_local"
    ADMIN = "admin_local"
    SEARCH = "search_local"
    WEBHOOKS = "webhooks_local"
    SCHEDULER = "scheduler_local"
    ARCHIVER = "archiver_local"


GROUP_ROLES = {
    Role.STREAMS: "hyrelog_streams",
    Role.INGEST: "hyrelog_ingest",
    Role.API: "hyrelog_api",
    Role.AUDITOR: "hyrelog_auditor",
    Role.RELAY: "hyrelog_relay",
    Role.ADMIN: "hyrelog_admin",
    Role.SEARCH: "hyrelog_search",
    Role.WEBHOOKS: "hyrelog_webhooks",
    Role.SCHEDULER: "hyrelog_scheduler",
    Role.ARCHIVER: "hyrelog_archiver",
}


def inherited() -> dict[str, str]:
    """What a child takes over of our own environment: where programs are, and nothing that could be a secret."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def database_name(region: Region) -> str:
    """The region's database in the stack's one server."""
    return f"hyrelog_{region.lower()}"


def database_url(state: State, role: Role, database: str) -> str:
    """A connection string of the stack's PostgreSQL. It holds the role's password."""
    return f"postgresql://{role}:{state.secret(f'postgres.{role}')}@127.0.0.1:{state.port('postgres')}/{database}"


def database_urls(state: State, role: Role) -> dict[str, str]:
    """``DATABASE_URL_US`` and its like, in that role."""
    return {f"DATABASE_URL_{region}": database_url(state, role, database_name(region)) for region in REGIONS}


def object_store(state: State) -> dict[str, str]:
    """The ``S3_*`` settings."""
    return {
        "S3_ENDPOINT": f"http://127.0.0.1:{state.port('s3')}",
        "S3_ACCESS_KEY_ID": "hyrelog",
        "S3_SECRET_ACCESS_KEY": state.secret("s3"),
        "S3_REGION": "us-east-1",
        "S3_FORCE_PATH_STYLE": "true",
        **{f"S3_BUCKET_{region}": f"hyrelog-{region.lower()}" for region in REGIONS},
    }


def service_environ(state: State, role: Role) -> dict[str, str]:
    """All settings of a process that works in ``role``."""
    return {
        "KAFKA_BOOTSTRAP": f"127.0.0.1:{state.port('kafka')}",
        **{name: state.secret(name.lower()) for name in _SECRETS},
        **{f"{name}_PREVIOUS": old for name in _SECRETS if (old := state.previous_secret(name.lower()))},
        **database_urls(state, role),
        **object_store(state),
        **_LIMITS_OFF,
        **{name: os.environ[name] for name in _TRACING if name in os.environ},
        **{name: found for name, default in _TUNING.items() if (found := os.environ.get(name, default))},
    }


def settings_of(kind: type[AnySettings], environ: Mapping[str, str]) -> AnySettings:
    """Settings from an environment that is not this process's own."""
    return kind.model_validate({name.lower(): value for name, value in environ.items()})


def service_settings(state: State, role: Role) -> Settings:
    """The settings a process of the stack has in ``role``."""
    return settings_of(Settings, service_environ(state, role))


def ambient_environ(role: Role) -> dict[str, str]:
    """The environment an operator's command works in: this process's own, or the local stack's when that names no database."""
    stack = ambient_stack()
    return dict(os.environ) if stack is None else service_environ(stack, role)


def ambient_stack() -> State | None:
    """The local stack, where an operator's command works on it."""
    is_elsewhere = any(name.startswith("DATABASE_URL_") for name in os.environ)
    return None if is_elsewhere or not State.exists(default_root()) else State(default_root())
