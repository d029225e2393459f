"""One bucket of the object store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from botocore.exceptions import ClientError

from ops.objects.client import client
from ops.objects.problems import NotThere, code_of, told
from ops.objects.upload import EPOCH, Attributes, Lock, Upload, put
from ops.settings import Settings
from schemas.topics import Region

_CHUNK_BYTES = 256 << 10
_NO_TAGS: Mapping[str, str] = MappingProxyType({})
_LIFECYCLE_ABSENT = "NoSuchLifecycleConfiguration"
_LEAST_SIZE = "TransitionDefaultMinimumObjectSize"
_UNLOCKED = frozenset({"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"})


class Head(NamedTuple):
    """What the store says of an object."""

    size: int
    storage_class: str
    restore: str | None
    """S3's header ``x-amz-restore`` as it stands."""
    locked_until: int | None
    """Until when Object Lock keeps it, in microseconds."""


class Lifecycle(NamedTuple):
    """The rules of a bucket, in S3's words."""

    rules: list[dict[str, Any]]
    least_size: str | None
    """S3's TransitionDefaultMinimumObjectSize: which small objects stay where they are, unless a rule says a size."""


class ObjectStore:
    """One bucket. Every method raises ``StoreUnavailable``, and besides what it says."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    @classmethod
    def of(cls, settings: Settings, region: Region) -> Self:
        """The region's bucket."""
        return cls(client(settings), settings.bucket(region))

    def put_new(
        self, key: str, body: bytes, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> None:
        """Write an object that is not there yet. Raises ``AlreadyThere``."""
        put(self._client, {"Bucket": self.bucket, "Key": key}, body, Attributes(tags, storage_class, lock))

    def upload_new(
        self, key: str, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> Upload:
        """Write an object of any size piece by piece; nothing is there before ``finish()``. Leaving its block without that aborts it."""
        return Upload(self._client, self.bucket, key, Attributes(tags, storage_class, lock))

    def abandon_uploads(self, key: str) -> int:
        """Abort what others began to upload under exactly that name and left; how many those were."""
        aborted = 0
        with told(key):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=key):
                for upload in page.get("Uploads", ()):
                    if upload["Key"] == key:
                        self._abort(key, upload["UploadId"])
                        aborted += 1
        return aborted

    def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """The object's bytes from ``start`` to before ``end``; fewer where it ends sooner. Raises ``NotThere`` and ``Cold``."""
        return b"".join(self.stream(key, start, end))

    def stream(self, key: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
        """The same in chunks of at most 256 KiB. Asked for only once the first one is."""
        extent = _range(start, end)
        if extent is None:
            return
        with told(key):
            try:
                body = self._client.get_object(Bucket=self.bucket, Key=key, **extent)["Body"]
            except ClientError as error:
                if code_of(error) == "InvalidRange":  # it begins behind the object's end
                    return
                raise
            with contextlib.closing(body):
                yield from body.iter_chunks(_CHUNK_BYTES)

    def head(self, key: str) -> Head | None:
        """What is known of the object; ``None`` when it is not there."""
        try:
            with told(key):
                found = self._client.head_object(Bucket=self.bucket, Key=key)
        except NotThere:
            return None
        until: datetime | None = found.get("ObjectLockRetainUntilDate")
        kept = None if until is None else (until - EPOCH) // timedelta(microseconds=1)
        return Head(found["ContentLength"], found.get("StorageClass", "STANDARD"), found.get("Restore"), kept)

    def delete(self, key: str) -> bool:
        """Remove all versions of exactly that object, and its delete markers; ``False`` while Object Lock keeps any of them."""
        with told(key):
            versions, markers = self._versions(key)
            removed = [self._delete_version(key, version) for version in versions]
            if not all(removed):
                return False
            # Last of all: without its marker an older version would be the object again.
            return all(self._delete_version(key, marker) for marker in markers)

    def keys(self, prefix: str) -> Iterator[str]:
        """The names of the objects that begin so, in order."""
        with told(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield from (found["Key"] for found in page.get("Contents", ()))

    def lifecycle(self) -> Lifecycle:
        """What the bucket does with its objects by itself. Raises ``Unsupported``."""
        with told(self.bucket):
            try:
                found = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)
            except ClientError as error:
                if code_of(error) == _LIFECYCLE_ABSENT:
                    return Lifecycle([], None)
                raise
        return Lifecycle(found["Rules"], found.get(_LEAST_SIZE))

    def put_lifecycle(self, lifecycle: Lifecycle) -> None:
        """Set all of that. Raises ``Unsupported``."""
        with told(self.bucket):
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket,
                LifecycleConfiguration={"Rules": lifecycle.rules},
                **({} if lifecycle.least_size is None else {_LEAST_SIZE: lifecycle.least_size}),
            )

    def _abort(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def _versions(self, key: str) -> tuple[list[str], list[str]]:
        versions, markers = [], []
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=key):
            versions += [each["VersionId"] for each in page.get("Versions", ()) if each["Key"] == key]
            markers += [each["VersionId"] for each in page.get("DeleteMarkers", ()) if each["Key"] == key]
        return versions, markers

    def _delete_version(self, key: str, version: str) -> bool:
        """Whether it is gone. A lock of mode GOVERNANCE could be passed over by those with the right to; nobody does here."""
        which = {"Bucket": self.bucket, "Key": key, "VersionId": version}
        try:
            self._client.delete_object(**which)
        except ClientError as error:
            if code_of(error) != "AccessDenied" or not self._is_locked(which):
                raise
            return False
        return True

    def _is_locked(self, version: Mapping[str, str]) -> bool:
        head = self._client.head_object(**version)
        if "ObjectLockRetainUntilDate" in head or head.get("ObjectLockLegalHoldStatus") == "ON":
            return True
        # Some stores tell in a HEAD of the lock of the newest version alone.
        for ask in (self._client.get_object_retention, self._client.get_object_legal_hold):
            try:
                answer = ask(**version)
            except ClientError as error:
                if code_of(error) not in _UNLOCKED:
                    raise
            else:
                if "Retention" in answer or answer.get("LegalHold", {}).get("Status") == "ON":
                    return True
        return False


def _range(start: int | None, end: int | None) -> dict[str, str] | None:
    """The request's range; ``None`` when nothing is asked for."""
    if start is None and end is None:
        return {}
    first = start or 0
    if end is not None and end <= first:
        return None
    return {"Range": f"bytes={first}-" + ("" if end is None else str(end - 1))}
