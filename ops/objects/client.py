"""How the store is reached."""

from __future__ import annotations

import contextlib
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.settings import Settings

_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 60}  # seconds
_RETRIES = {"max_attempts": 4, "mode": "standard"}
_CONNECTIONS = 32


def client(settings: Settings) -> Any:
    """A client of the settings' store. Any: boto3 makes its clients' classes at run time."""
    secret = settings.s3_secret_access_key
    style = {"addressing_style": "path" if settings.s3_force_path_style else "auto"}
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            s3=style,
            retries=_RETRIES,
            max_pool_connections=_CONNECTIONS,
            # Whoever reads compares hashes that the store does not know; its own would make altered bytes look like an outage.
            response_checksum_validation="when_required",
            **_TIMEOUTS,
        ),
    )


def ensure_buckets(settings: Settings) -> None:
    """Create each served region's bucket where it is missing: with Object Lock, hence versioned."""
    store = client(settings)
    for region in settings.regions:
        with contextlib.suppress(*_already_there(store)):
            store.create_bucket(Bucket=settings.bucket(region), ObjectLockEnabledForBucket=True)


def _already_there(store: Any) -> tuple[type[ClientError], ...]:
    return (store.exceptions.BucketAlreadyOwnedByYou, store.exceptions.BucketAlreadyExists)
