"""One bucket of the object store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from ops.aws import is_aws
from ops.clock import Clock, SystemClock
from ops.objects.client import client
from ops.objects.problems import Cold, NotThere, StoreUnavailable, Unsupported, Warm, code_of, told
from ops.objects.restoration import COLD_CLASSES, Frozen, Restoration, parse_restoration
from ops.objects.upload import EPOCH, Attributes, Lock, Upload, put
from ops.objects.versions import remove_versions
from ops.settings import Settings
from schemas.archive import COLD_TAG
from schemas.restore import Tier
from schemas.topics import Region

_CHUNK_BYTES = 256 << 10
_NO_TAGS: Mapping[str, str] = MappingProxyType({})
_LIFECYCLE_ABSENT = "NoSuchLifecycleConfiguration"
_FROZEN: Final = "simulated-glacier/"
_SIMULATED_CLASS: Final = "GLACIER"
_LEAST_SIZE = "TransitionDefaultMinimumObjectSize"


class Head(NamedTuple):
    """What the store says of an object."""

    size: int
    storage_class: str
    restore: Restoration | None
    """Of what is in cold storage and was asked for, until that is over."""
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

    @staticmethod
    def of(settings: Settings, region: Region, clock: Clock | None = None) -> ObjectStore:
        """The region's bucket. Where the settings simulate cold storage, that goes by ``clock``; the machine's own by default."""
        seconds = settings.restore_simulated_seconds
        if seconds is None or is_aws(settings.s3_endpoint):  # settings refuse the two together: here nothing depends on that
            return ObjectStore(client(settings), settings.bucket(region))
        return SimulatedGlacier(client(settings), settings.bucket(region), seconds=seconds, clock=clock or SystemClock())

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
        return Head(found["ContentLength"], found.get("StorageClass", "STANDARD"), _restoration(found.get("Restore")), kept)

    def restore(self, key: str, *, days: int, tier: Tier) -> None:
        """Have a cold object made readable, for so many days; one that is readable already, for so many from now on.

        Asked for again while that is under way, it changes nothing. Raises ``NotThere``, ``Warm``, ``Denied`` and ``Unsupported``; a store
        that has no capacity for the tier now is ``StoreUnavailable``.
        """
        request = {"Days": days, "GlacierJobParameters": {"Tier": tier.capitalize()}}
        with told(key):
            try:
                self._client.restore_object(Bucket=self.bucket, Key=key, RestoreRequest=request)
            except ClientError as error:
                code = code_of(error)
                if code == "InvalidObjectState":
                    raise Warm(key) from error
                if code != "RestoreAlreadyInProgress":
                    raise

    def delete(self, key: str) -> bool:
        """Remove all versions of exactly that object, and its delete markers; ``False`` while Object Lock keeps any of them."""
        with told(key):
            return remove_versions(self._client, self.bucket, key)

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


class SimulatedGlacier(ObjectStore):
    """A bucket of a store that has no cold storage: it is made to look as if it had.

    An object that the bucket's lifecycle might have moved (``COLD_TAG``) is in cold storage from when somebody asks to have it restored,
    and readable some seconds later, until that is over. What is so is kept in the bucket: all processes see the same.
    """

    def __init__(self, client: Any, bucket: str, *, seconds: float, clock: Clock) -> None:
        super().__init__(client, bucket)
        self._delay_micros = round(seconds * 1e6)
        self._clock = clock

    def put_new(
        self, key: str, body: bytes, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> None:
        """Write an object that is not there yet; one of a cold class is in cold storage at once. Raises ``AlreadyThere``."""
        is_cold = storage_class in COLD_CLASSES
        super().put_new(key, body, tags=tags, storage_class="STANDARD" if is_cold else storage_class, lock=lock)
        if is_cold:
            self._freeze(key, Frozen())

    def upload_new(
        self, key: str, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> Upload:
        """As ``ObjectStore`` does it. Raises ``Unsupported`` for a cold class: archives are read back before they go cold."""
        if storage_class in COLD_CLASSES:
            raise Unsupported(f"uploads of class {storage_class} are not simulated")
        return super().upload_new(key, tags=tags, storage_class=storage_class, lock=lock)

    def stream(self, key: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
        """The object's bytes, in chunks. Raises ``NotThere`` and ``Cold``."""
        frozen = self._frozen(key)
        if frozen is not None:
            restoration = frozen.restoration(self._clock.micros())
            if restoration is None or restoration.ongoing:
                raise NotThere(key) if super().head(key) is None else Cold(key)
        yield from super().stream(key, start, end)

    def head(self, key: str) -> Head | None:
        """What is known of the object; ``None`` when it is not there."""
        head = super().head(key)
        frozen = None if head is None else self._frozen(key)
        if head is None or frozen is None:
            return head
        return head._replace(storage_class=_SIMULATED_CLASS, restore=frozen.restoration(self._clock.micros()))

    def restore(self, key: str, *, days: int, tier: Tier) -> None:  # noqa: ARG002 - no tier is faster than another one
        """As ``ObjectStore`` does it, but that every tier takes as long. Raises ``NotThere`` and ``Warm``."""
        if super().head(key) is None:
            raise NotThere(key)
        frozen = self._frozen(key)
        if frozen is None and not self._is_tagged(key):
            raise Warm(key)
        self._freeze(key, (frozen or Frozen()).asked(self._clock.micros(), days=days, micros=self._delay_micros))

    def delete(self, key: str) -> bool:
        """Remove the object, and what is kept of its being cold; ``False`` while Object Lock keeps it."""
        return super().delete(key) and super().delete(_FROZEN + key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The names of the objects that begin so, in order, without what is kept of them."""
        return (key for key in super().keys(prefix) if not key.startswith(_FROZEN))

    def _frozen(self, key: str) -> Frozen | None:
        try:
            return Frozen.read(b"".join(super().stream(_FROZEN + key)))
        except NotThere:
            return None

    def _freeze(self, key: str, frozen: Frozen) -> None:
        with told(key):
            self._client.put_object(Bucket=self.bucket, Key=_FROZEN + key, Body=frozen.written())

    def _is_tagged(self, key: str) -> bool:
        with told(key):
            found = self._client.get_object_tagging(Bucket=self.bucket, Key=key)
        return any(tag["Key"] == COLD_TAG for tag in found["TagSet"])


def _restoration(header: str | None) -> Restoration | None:
    try:
        return None if header is None else parse_restoration(header)
    except ValueError as error:
        raise StoreUnavailable(f"HeadObject: {error}") from None


def _range(start: int | None, end: int | None) -> dict[str, str] | None:
    """The request's range; ``None`` when nothing is asked for."""
    if start is None and end is None:
        return {}
    first = start or 0
    if end is not None and end <= first:
        return None
    return {"Range": f"bytes={first}-" + ("" if end is None else str(end - 1))}
