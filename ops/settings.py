"""Every setting of every process: read once from the environment, checked, frozen.

A secret has no default and a process that is handed a weak one refuses to start. Tests build
``Settings(...)`` directly. Names are the environment variables in lower case; a field that holds a
map takes one variable per region (``DATABASE_URL_US``) and, for Kafka, a common fallback.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ops.addresses import Exemption, Network, exemption, network
from ops.aws import is_aws
from ops.schedule import Schedule
from schemas.topics import REGIONS, Region

# Values printed in documentation and tutorials, this product's predecessor included.
_SAMPLES = ("change-in-production", "changeme", "change-me", "your-secure", "example", "0123456789abcdef0123456789abcdef")
_MIN_SECRET_BYTES = 32
_HEX_KEY = re.compile("[0-9a-fA-F]{64}").fullmatch

Secret = SecretStr


def _check_secret(name: str, secret: SecretStr) -> None:
    value = secret.get_secret_value()
    if len(value.encode()) < _MIN_SECRET_BYTES:
        raise ValueError(f"{name} must hold at least {_MIN_SECRET_BYTES} bytes")
    if any(sample in value.lower() for sample in _SAMPLES) or len(set(value)) < 8:
        raise ValueError(f"{name} is a sample value: make one with `openssl rand -hex 32`")


class DatabaseSettings(BaseSettings):
    """The regions and their databases: all that a migration needs to know."""

    # Errors name the field and never show input: the input of one finding is all settings, secrets included.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, hide_input_in_errors=True)

    # --- regions -----------------------------------------------------------------------------
    regions: Annotated[tuple[Region, ...], NoDecode] = Field(
        default=REGIONS, description="The regions this process serves, comma separated. A production worker serves one."
    )
    database_url_us: Secret | None = Field(default=None, description="PostgreSQL of the US region, in this process's own role.")
    database_url_eu: Secret | None = Field(default=None, description="The same for EU.")
    database_url_uk: Secret | None = Field(default=None, description="The same for UK.")
    database_url_au: Secret | None = Field(default=None, description="The same for AU.")

    @field_validator("regions", mode="before")
    @classmethod
    def _split_regions(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Region(part.strip().upper()) for part in value.split(",") if part.strip())
        return value

    def database_url(self, region: Region) -> str:
        """The region's connection string. Raises ``ValueError`` when it is not set."""
        url: SecretStr | None = getattr(self, f"database_url_{region.lower()}")
        if url is None:
            raise ValueError(f"DATABASE_URL_{region} is not set")
        return url.get_secret_value()


class Settings(DatabaseSettings):
    """What a process needs to know. One instance is made at its entry point and handed down."""

    # --- Kafka -------------------------------------------------------------------------------
    kafka_bootstrap: str | None = Field(default=None, description="host:port[,host:port] of the brokers of every region without its own.")
    kafka_bootstrap_us: str | None = None
    kafka_bootstrap_eu: str | None = None
    kafka_bootstrap_uk: str | None = None
    kafka_bootstrap_au: str | None = None
    kafka_security_protocol: str = Field(default="PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    kafka_sasl_mechanism: str = Field(default="SCRAM-SHA-512", pattern="^(PLAIN|SCRAM-SHA-256|SCRAM-SHA-512)$")
    kafka_sasl_username: str | None = None
    kafka_sasl_password: Secret | None = None
    kafka_ssl_cafile: str | None = Field(default=None, description="PEM file of the brokers' CA; the system's store when unset.")
    kafka_compression: str | None = Field(
        default=None, pattern="^(gzip|snappy|lz4|zstd)$", description="Producers' codec; none by default."
    )
    topic_partitions: int = Field(default=8, ge=1, le=1024, description="Partitions of each ingest/events pair; fixed for the pair's life.")
    topic_replication: int = Field(default=1, ge=1, description="Replicas of each topic; 3 outside the demo.")
    topic_retention_hours: int = Field(default=168, ge=1, description="How long topics keep data. Erasure of personal data counts on it.")

    # --- secrets -----------------------------------------------------------------------------
    api_key_secret: Secret = Field(description="HMAC key under which API keys are stored.")
    api_key_secret_previous: Secret | None = Field(default=None, description="Accepted beside the current one while keys are rotated over.")
    internal_token: Secret = Field(description="Value of the x-internal-token header of /internal/*.")
    internal_token_previous: Secret | None = None
    dashboard_service_token: Secret | None = Field(
        default=None, description="Value of the x-dashboard-token header of /dashboard/*; unset, nobody gets in there."
    )
    dashboard_service_token_previous: Secret | None = None
    dashboard_admin_token: Secret | None = Field(
        default=None, description="The same of /dashboard/admin/*: when set, the only one that is good there, and good for nothing else."
    )
    dashboard_admin_token_previous: Secret | None = None
    cursor_secret: Secret = Field(description="HMAC key of the query cursors.")
    cursor_secret_previous: Secret | None = None
    idempotency_secret: Secret = Field(description="HMAC key under which the contents of events with an idempotency key are compared.")
    idempotency_secret_previous: Secret | None = Field(
        default=None, description="Accepted beside the current one for as long as the events are hot that it was used for."
    )
    webhook_secret_encryption_key: Secret = Field(description="AES-256 key under which webhooks' secrets are kept: 64 hex digits.")
    webhook_secret_encryption_key_previous: Secret | None = Field(
        default=None, description="Opens what it sealed, until `hyrelog rekey` has gone over all of it."
    )
    archive_key: Secret = Field(description="AES-256 key under which companies' data keys are kept: 64 hex digits.")
    archive_key_previous: Secret | None = Field(default=None, description="The same of it: until `hyrelog rekey`.")

    # --- ingest ------------------------------------------------------------------------------
    ingest_max_unacked_bytes: int = Field(
        default=64 << 20, ge=1 << 20, description="Bytes handed to Kafka and not yet acknowledged; above it 503."
    )
    ingest_ack_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="Longest wait for Kafka's acknowledgement; then 503.")
    ingest_max_waiters: int = Field(
        default=1000, ge=0, description="Requests waiting under `Prefer: wait`; above it they are answered 202."
    )
    body_timeout_seconds: float = Field(default=15.0, gt=0, description="Longest wait for the next piece of a request body; then 408.")

    # --- HTTP --------------------------------------------------------------------------------
    http_host: str = Field(default="127.0.0.1", description="Address on which ingest, the API and a worker's health listen.")
    http_port: int = Field(default=8080, ge=1, le=65535, description="Port on which ingest and the API listen.")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Addresses and CIDR of the proxies whose X-Forwarded-For counts, comma separated."
    )

    # --- limits ------------------------------------------------------------------------------
    ip_requests_per_minute: int = Field(
        default=600, ge=0, description="Requests without a good key that an address may make (a /64 in IPv6); 0 switches it off."
    )
    dashboard_requests_per_minute: int = Field(
        default=600, ge=0, description="Requests that a user of the dashboard may make for one company; 0 switches it off."
    )
    rate_limit_store_url: Secret | None = Field(
        default=None, description="redis://… or valkey://… where replicas count together; unset, each process counts alone."
    )

    # --- API ---------------------------------------------------------------------------------
    statement_timeout_seconds: float = Field(default=5.0, gt=0, description="PostgreSQL's statement_timeout of a query; then 503.")
    api_pool_size: int = Field(default=8, ge=1, le=200, description="Connections per region of the query API.")

    # --- streams -----------------------------------------------------------------------------
    streams_chunk_events: int = Field(default=5000, ge=1, description="Events of one transaction at most (one record at least).")
    streams_chunk_bytes: int = Field(default=8 << 20, ge=1 << 16, description="Bytes of one transaction at most (one record at least).")
    streams_session_timeout_seconds: float = Field(
        default=30.0, ge=6, description="After this long without a heartbeat a worker loses its partitions."
    )
    streams_stall_seconds: float = Field(
        default=120.0, ge=5, description="The watchdog ends a worker that has lag and makes no progress for so long."
    )
    streams_http_port: int = Field(default=0, ge=0, le=65535, description="Port of the worker's health and metrics; 0 takes a free one.")
    fault_points: str | None = Field(
        default=None, description="Fault injection of the test suite: `name:probability,…:seed`. Unset in production."
    )

    # --- audit relay -------------------------------------------------------------------------
    relay_http_port: int = Field(default=0, ge=0, le=65535, description="Port of the relay's health and metrics; 0 takes a free one.")

    # --- sinks -------------------------------------------------------------------------------
    sinks_http_port: int = Field(default=0, ge=0, le=65535, description="Port of a sink's health and metrics; 0 takes a free one.")
    sinks_session_timeout_seconds: float = Field(
        default=30.0, ge=6, description="After this long without a heartbeat a sink's process loses its partitions."
    )
    sinks_stall_seconds: float = Field(
        default=120.0, ge=5, description="The watchdog ends a sink's process that has lag and makes no progress for so long."
    )
    sinks_niceness: int = Field(
        default=0, ge=0, le=19, description="Lowers the CPU priority of a sink's process, where it shares a machine with the write path."
    )

    # --- webhooks ----------------------------------------------------------------------------
    egress_allow: Annotated[tuple[Exemption, ...], NoDecode] = Field(
        default=(),
        description="CIDR:port, comma separated ([::1/128]:3001 in IPv6): where customers' URLs may lead besides, by http too.",
    )
    egress_ports: Annotated[tuple[int, ...], NoDecode] = Field(default=(443,), description="Ports that customers' URLs may name.")
    webhook_retry_seconds: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(60, 300, 1800, 21600), description="Pauses before the attempts after the first one, each from the end of the one before."
    )
    webhook_timeout_seconds: float = Field(default=10.0, gt=0, le=60, description="Longest wait for an endpoint's whole answer.")
    webhook_concurrency: int = Field(
        default=8, ge=1, le=100, description="Requests under way to one endpoint, a process; 1 while it fails."
    )
    webhook_in_flight: int = Field(default=1000, ge=2, description="Requests under way to all endpoints of a region, a process.")
    webhook_lease_seconds: float = Field(
        default=60.0, gt=0, description="After so long a delivery that was claimed and not finished is anybody's. Above the timeout."
    )
    webhook_failing_seconds: float = Field(default=432_000, gt=0, description="An endpoint that fails for so long (5 days) is disabled.")
    webhook_attempt_days: int = Field(default=30, ge=1, description="How long attempts can be looked up.")

    # --- tail --------------------------------------------------------------------------------
    tails_per_key: int = Field(default=20, ge=1, description="Tails that a key may have open, a process.")
    tail_clients: int = Field(default=10_000, ge=1, description="Tails that a process serves.")
    tail_queue_events: int = Field(default=1000, ge=16, description="Events waiting for a client; one that is behind further is cut off.")
    tail_log_bytes: int = Field(default=256 << 20, ge=1 << 20, description="What may wait for all clients of a process.")
    tail_lifetime_seconds: float = Field(default=600.0, gt=0, description="After so long a tail ends, and its client resumes.")

    # --- archive -----------------------------------------------------------------------------
    archive_part_rows: int = Field(default=1_000_000, ge=1, description="Events of one archive object at most.")
    archive_lock_mode: str | None = Field(
        default=None, pattern="^(GOVERNANCE|COMPLIANCE)$", description="Object Lock of archived events; none when unset."
    )
    archive_lock_days: int = Field(
        default=0, ge=0, description="How long that holds, from when the object is written; 0: the part's archive retention."
    )
    archive_storage_class: str = Field(
        default="STANDARD",
        pattern="^(STANDARD|STANDARD_IA|ONEZONE_IA|INTELLIGENT_TIERING|GLACIER_IR)$",
        description="S3 storage class of archived events. One that is read at once: each part is read back before anything goes.",
    )
    archive_recheck_days: int = Field(
        default=30, ge=0, description="Archives that are warm are read back again after so many days; 0: only once, before their events go."
    )
    purge_enabled: bool = Field(
        default=True, description="Whether hot events are removed once their archive is verified and their retention is over."
    )
    purge_batch_rows: int = Field(default=1000, ge=1, description="Events removed in one transaction.")
    purge_share: float = Field(default=0.5, gt=0, le=1, description="Share of its time that purging works; it rests between batches.")

    # --- exports -----------------------------------------------------------------------------
    export_downloads_per_company: int = Field(default=2, ge=1, description="Exports of a company that are downloaded at a time.")

    # --- jobs --------------------------------------------------------------------------------
    scheduler_http_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the scheduler's health and metrics; 0 takes a free one."
    )
    job_schedules: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="`name=cron expression; …`, in UTC: when jobs are run, where not as by default."
    )
    scheduler_lease_seconds: float = Field(
        default=60.0,
        gt=0,
        description="After so long without a sign of life a job is anybody's. Clocks may differ by less.",
    )
    scheduler_retry_seconds: float = Field(default=900.0, gt=0, description="A job that failed is tried again so soon.")
    scheduler_poll_seconds: float = Field(default=5.0, gt=0, description="How often a scheduler looks for jobs that are due.")

    # --- object store ------------------------------------------------------------------------
    s3_endpoint: str | None = Field(default=None, description="URL of an S3 store other than AWS.")
    s3_access_key_id: str | None = Field(default=None, description="Unset: the machine's own identity.")
    s3_secret_access_key: Secret | None = None
    s3_region: str = Field(default="us-east-1", description="The store's name of its region, part of every signature.")
    s3_force_path_style: bool = Field(
        default=False, description="Bucket in the path instead of the host name, as stores other than AWS want it."
    )
    restore_simulated_seconds: float | None = Field(
        default=None,
        ge=0,
        description="Simulates cold storage on a store that has none: restoring an archive takes so long. Unset: it is S3's own.",
    )
    s3_bucket_us: str | None = Field(default=None, description="Bucket of the US region's archives and exports.")
    s3_bucket_eu: str | None = None
    s3_bucket_uk: str | None = None
    s3_bucket_au: str | None = None

    # --- tracing -----------------------------------------------------------------------------
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        pattern="^https?://",
        description="OpenTelemetry collector (OTLP over HTTP, http://host:4318); unset, no spans are made.",
    )
    otel_traces_sampler_arg: float = Field(
        default=1.0, ge=0, le=1, description="Share of the traces to sample that begin here; of others the caller's flag decides."
    )

    # --- process -----------------------------------------------------------------------------
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _split_exemptions(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(exemption(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("egress_ports", "webhook_retry_seconds", mode="before")
    @classmethod
    def _split_numbers(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("job_schedules", mode="before")
    @classmethod
    def _split_schedules(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(";") if part.strip()]
        return {name.strip(): Schedule.parse(expression).expression for name, _, expression in pairs}

    @field_validator("webhook_secret_encryption_key", "webhook_secret_encryption_key_previous", "archive_key", "archive_key_previous")
    @classmethod
    def _check_hex_key(cls, value: Secret | None) -> Secret | None:
        if value is not None and not _HEX_KEY(value.get_secret_value()):
            raise ValueError("must be 64 hex digits: make them with `openssl rand -hex 32`")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in type(self).model_fields:
            secret = getattr(self, name)
            if isinstance(secret, SecretStr) and name.endswith(("_secret", "_token", "_encryption_key", "archive_key", "_previous")):
                _check_secret(name.upper(), secret)
        if not self.regions:
            raise ValueError("REGIONS names no region")
        tokens = {name: self.secrets(name) for name in ("internal_token", "dashboard_service_token", "dashboard_admin_token")}
        held = [token for values in tokens.values() for token in set(values)]
        if len(set(held)) < len(held):
            raise ValueError("INTERNAL_TOKEN, DASHBOARD_SERVICE_TOKEN and DASHBOARD_ADMIN_TOKEN must differ: each opens something else")
        if self.restore_simulated_seconds is not None and is_aws(self.s3_endpoint):
            raise ValueError("RESTORE_SIMULATED_SECONDS is for stores other than AWS, which S3_ENDPOINT names")
        return self

    def secrets(self, name: str) -> tuple[bytes, ...]:
        """The secret of that field and, while it is rotated, its predecessor: sign with the first, accept both."""
        values: list[SecretStr | None] = [getattr(self, name), getattr(self, f"{name}_previous")]
        return tuple(value.get_secret_value().encode() for value in values if value is not None)

    def kafka(self, region: Region) -> str:
        """The region's bootstrap servers. Raises ``ValueError`` when none are set."""
        own: str | None = getattr(self, f"kafka_bootstrap_{region.lower()}")
        if not (own or self.kafka_bootstrap):
            raise ValueError(f"neither KAFKA_BOOTSTRAP_{region} nor KAFKA_BOOTSTRAP is set")
        return own or self.kafka_bootstrap or ""

    def bucket(self, region: Region) -> str:
        """The region's bucket. Raises ``ValueError`` when it is not set."""
        name: str | None = getattr(self, f"s3_bucket_{region.lower()}")
        if not name:
            raise ValueError(f"S3_BUCKET_{region} is not set")
        return name
