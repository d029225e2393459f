"""Removing an object for good: every version of it, and what hides versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.objects.problems import code_of

_UNLOCKED = frozenset({"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"})


def remove_versions(client: Any, bucket: str, key: str) -> bool:
    """Remove all versions of exactly that object, and its delete markers; ``False`` while Object Lock keeps any of them.

    Raises what boto3 does.
    """
    versions, markers = _versions(client, bucket, key)
    removed = [_delete_version(client, {"Bucket": bucket, "Key": key, "VersionId": version}) for version in versions]
    if not all(removed):
        return False
    # Last of all: without its marker an older version would be the object again.
    return all(_delete_version(client, {"Bucket": bucket, "Key": key, "VersionId": marker}) for marker in markers)


def _versions(client: Any, bucket: str, key: str) -> tuple[list[str], list[str]]:
    versions, markers = [], []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        versions += [each["VersionId"] for each in page.get("Versions", ()) if each["Key"] == key]
        markers += [each["VersionId"] for each in page.get("DeleteMarkers", ()) if each["Key"] == key]
    return versions, markers


def _delete_version(client: Any, which: Mapping[str, str]) -> bool:
    """Whether it is gone. A lock of mode GOVERNANCE could be passed over by those with the right to; nobody does here."""
    try:
        client.delete_object(**which)
    except ClientError as error:
        if code_of(error) != "AccessDenied" or not _is_locked(client, which):
            raise
        return False
    return True


def _is_locked(client: Any, version: Mapping[str, str]) -> bool:
    head = client.head_object(**version)
    if "ObjectLockRetainUntilDate" in head or head.get("ObjectLockLegalHoldStatus") == "ON":
        return True
    # Some stores tell in a HEAD of the lock of the newest version alone.
    for ask in (client.get_object_retention, client.get_object_legal_hold):
        try:
            answer = ask(**version)
        except ClientError as error:
            if code_of(error) not in _UNLOCKED:
                raise
        else:
            if "Retention" in answer or answer.get("LegalHold", {}).get("Status") == "ON":
                return True
    return False
