"""The object store: the only door to boto3. Blocking: async callers use threads."""

from __future__ import annotations

import contextlib
import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops.settings import Settings
from schemas.topics import Region

_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 60}  # seconds
_RETRIES = {"max_attempts": 4, "mode": "standard"}
PIECE_BYTES = 8 << 20
_CHUNK_BYTES = 256 << 10
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class StoreUnavailable(ConnectionError):
    """The store can't answer now: try again."""


class AlreadyThere(Exception):
    """There is an object of that name, and it stays as it is."""


class NotThere(LookupError):
    """There is no object of that name."""


class Denied(PermissionError):
    """Our keys may not do that, or Object Lock forbids it."""


class Cold(Exception):
    """The object is archived by the store itself, and can't be read before it is restored."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Object Lock: GOVERNANCE or COMPLIANCE, until a time in microseconds."""

    mode: str
    until: int


@dataclass(frozen=True, slots=True)
class Head:
    """What the store says of an object. ``restore`` is the header of that name, of objects that were or are being restored."""

    size: int
    storage_class: str
    restore: str | None
    locked_until: int | None


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
        config=Config(s3=style, retries=_RETRIES, **_TIMEOUTS),
    )


def ensure_buckets(settings: Settings) -> None:
    """Create each served region's bucket where it is missing: with Object Lock, hence versioned."""
    store = client(settings)
    for region in settings.regions:
        with contextlib.suppress(*_already_there(store)):
            store.create_bucket(Bucket=settings.bucket(region), ObjectLockEnabledForBucket=True)


def _already_there(store: Any) -> tuple[type[ClientError], ...]:
    return (store.exceptions.BucketAlreadyOwnedByYou, store.exceptions.BucketAlreadyExists)


class ObjectStore:
    """One bucket. Every method raises ``StoreUnavailable`` while the store can't answer."""

    def __init__(self, store: Any, bucket: str) -> None:
        """``store`` is a client: its calls may come from several threads."""
        self._client = store
        self._bucket = bucket

    @classmethod
    def of(cls, settings: Settings, region: Region) -> Self:
        """The region's bucket."""
        return cls(client(settings), settings.bucket(region))

    def put_new(
        self, key: str, body: bytes, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> None:
        """Write an object that is not there yet, in one request. Raises ``AlreadyThere``."""
        _put_new(self._client, self._named(key), body, _terms(tags, storage_class, lock))

    def upload_new(
        self, key: str, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> Upload:
        """Begin an object that is not there yet, to be written piece by piece."""
        return Upload(self._client, self._named(key), _terms(tags, storage_class, lock))

    def abandon_uploads(self, key: str) -> int:
        """End all uploads of that name which somebody began and did not finish; how many."""
        with translated():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=key)
            found = [each["UploadId"] for page in pages for each in page.get("Uploads", ()) if each["Key"] == key]
            for upload_id in found:
                with contextlib.suppress(NotThere), translated():
                    self._client.abort_multipart_upload(**self._named(key), UploadId=upload_id)
        return len(found)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Its bytes from ``start`` to before ``end``. Raises ``NotThere``, ``Cold``."""
        return b"".join(self.stream(key, start, end))

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The same in chunks. Raises ``StoreUnavailable`` when less comes than there is."""
        span = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        with translated():
            found = self._client.get_object(**self._named(key), **span)
        with contextlib.closing(found["Body"]) as body:
            missing = found["ContentLength"]
            while True:
                with translated():
                    chunk: bytes = body.read(_CHUNK_BYTES)
                if not chunk:
                    break
                missing -= len(chunk)
                yield chunk
        if missing:
            raise StoreUnavailable(f"{key} was cut off")

    def head(self, key: str) -> Head | None:
        """What the store says of it; ``None`` when there is no such object."""
        try:
            with translated():
                found = self._client.head_object(**self._named(key))
        except NotThere:
            return None
        until = found.get("ObjectLockRetainUntilDate")
        return Head(
            size=found["ContentLength"],
            storage_class=found.get("StorageClass", "STANDARD"),
            restore=found.get("Restore"),
            locked_until=None if until is None else round(until.timestamp() * 1_000_000),
        )

    def delete(self, key: str) -> bool:
        """Remove every version of exactly that name; ``False`` when one of them is locked, and stays."""
        removed = True
        with translated():
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key)
            found = [each for page in pages for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, ()) if each["Key"] == key]
        for version in found:
            try:
                with translated():
                    self._client.delete_object(**self._named(key), VersionId=version["VersionId"])
            except Denied:
                removed = False
        return removed

    def keys(self, prefix: str) -> Iterator[str]:
        """The names of all objects that begin so, in order."""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix))
        while True:
            with translated():
                page = next(pages, None)
            if page is None:
                return
            yield from (each["Key"] for each in page.get("Contents", ()))

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key}


class Upload:
    """An object on its way: one request when it is small, else pieces of ``PIECE_BYTES``. There is nothing to see before ``finish``.

    Its methods raise ``StoreUnavailable``, also when somebody else has ended the upload: begin it again.
    """

    def __init__(self, store: Any, named: Mapping[str, str], terms: Mapping[str, Any]) -> None:
        self._client = store
        self._named = named
        self._terms = terms
        self._pending = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        """The next bytes."""
        self._pending += data
        while len(self._pending) >= PIECE_BYTES:
            piece = bytes(self._pending[:PIECE_BYTES])
            del self._pending[:PIECE_BYTES]
            self._send(piece)

    def finish(self) -> None:
        """The object is there when this returns. Raises ``AlreadyThere`` when one of that name came first."""
        if self._upload_id is None:
            _put_new(self._client, self._named, bytes(self._pending), self._terms)
            return
        if self._pending:
            self._send(bytes(self._pending))
        with _going_on():
            self._client.complete_multipart_upload(
                **self._named, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}, IfNoneMatch="*"
            )
        self._upload_id = None

    def abort(self) -> None:
        """There is to be no object; nothing happens once it is finished."""
        if self._upload_id is not None:
            with contextlib.suppress(NotThere, StoreUnavailable), translated():  # what stays behind, the next attempt abandons
                self._client.abort_multipart_upload(**self._named, UploadId=self._upload_id)
            self._upload_id = None

    def _send(self, piece: bytes) -> None:
        if self._upload_id is None:
            with translated():
                begun = self._client.create_multipart_upload(**self._named, ChecksumAlgorithm="SHA256", **self._terms)
            self._upload_id = begun["UploadId"]
        part = {"PartNumber": len(self._parts) + 1, "ChecksumSHA256": _checksum(piece)}
        with _going_on():
            sent = self._client.upload_part(**self._named, UploadId=self._upload_id, Body=piece, **part)
        self._parts.append(part | {"ETag": sent["ETag"]})


def _put_new(store: Any, named: Mapping[str, str], body: bytes, terms: Mapping[str, Any]) -> None:
    with translated():
        store.put_object(**named, Body=body, IfNoneMatch="*", ChecksumSHA256=_checksum(body), **terms)


def _checksum(body: bytes) -> str:
    return b64encode(hashlib.sha256(body).digest()).decode()


def _terms(tags: Mapping[str, str], storage_class: str, lock: Lock | None) -> dict[str, Any]:
    """What an object is written with, beside its bytes."""
    terms: dict[str, Any] = {"StorageClass": storage_class}
    if tags:
        terms["Tagging"] = urlencode(tags)
    if lock is not None:
        terms |= {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": datetime.fromtimestamp(lock.until / 1e6, UTC)}
    return terms


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of boto3 as ours. What says that our request is wrong, or that our keys may not do it, passes as it is."""
    try:
        yield
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _ERRORS:
            raise _ERRORS[code](code) from error
        if status >= 500:
            raise StoreUnavailable(code) from error
        raise
    except BotoCoreError as error:  # no connection, or one that broke; settings that are wrong too, which an operator sees in the log
        raise StoreUnavailable(type(error).__name__) from error


@contextlib.contextmanager
def _going_on() -> Iterator[None]:
    """``translated``, of an upload that has begun."""
    try:
        with translated():
            yield
    except NotThere as error:
        raise StoreUnavailable("the upload was ended by somebody else") from error


_ERRORS: Mapping[str, type[Exception]] = {
    "PreconditionFailed": AlreadyThere,
    "ConditionalRequestConflict": StoreUnavailable,  # of two at the same time, one is told to try again
    "OperationAborted": StoreUnavailable,
    "SlowDown": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "ThrottlingException": StoreUnavailable,
    "NoSuchKey": NotThere,
    "NoSuchVersion": NotThere,
    "NoSuchUpload": NotThere,
    "404": NotThere,  # HEAD has no body to tell a code in
    "InvalidObjectState": Cold,
    "AccessDenied": Denied,
}
