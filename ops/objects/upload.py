"""Writing an object once: in one piece, or in parts as its bytes come."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Self
from urllib.parse import urlencode

from ops.objects.problems import AlreadyThere, Denied, NotThere, StoreUnavailable, told

PIECE_BYTES: Final = 8 << 20
"""Of a multipart upload; what is smaller in all goes up in one piece."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lock:
    """Object Lock: nobody removes that version before its time."""

    mode: str
    """GOVERNANCE or COMPLIANCE."""
    until: int
    """Microseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object is written with, beside its bytes."""

    tags: Mapping[str, str]
    storage_class: str
    lock: Lock | None

    def request(self) -> dict[str, Any]:
        """As arguments of boto3's calls."""
        request: dict[str, Any] = {"StorageClass": self.storage_class}
        if self.tags:
            request["Tagging"] = urlencode(self.tags)
        if self.lock is not None:
            request |= {"ObjectLockMode": self.lock.mode, "ObjectLockRetainUntilDate": EPOCH + timedelta(microseconds=self.lock.until)}
        return request


def put(client: Any, which: Mapping[str, str], body: bytes, attributes: Attributes) -> None:
    """Write an object in one piece, if it is not there. Raises ``AlreadyThere`` and ``StoreUnavailable``."""
    with told(which["Key"]):
        client.put_object(
            **which, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256", ChecksumSHA256=_checksum(body), **attributes.request()
        )


class Upload:
    """An object on its way up. Holds at most ``PIECE_BYTES`` beside what it is handed."""

    def __init__(self, client: Any, bucket: str, key: str, attributes: Attributes) -> None:
        self._client = client
        self._key = key
        self._attributes = attributes
        self._which = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._is_over = False
        self._turn = threading.Lock()  # who gives up may do so while another thread is still at it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.abort()

    def write(self, piece: bytes) -> None:
        """Add bytes behind those there are."""
        with self._turn:
            self._check()
            self._buffer += piece
            while len(self._buffer) >= PIECE_BYTES:
                self._send(PIECE_BYTES)

    def finish(self) -> None:
        """Make it an object. Raises ``AlreadyThere``, and then it is none."""
        with self._turn:
            self._check()
            if self._id is None:
                put(self._client, self._which, bytes(self._buffer), self._attributes)
                return
            if self._buffer:
                self._send(len(self._buffer))
            tag = self._complete()
            with told(self._key):
                # Some stores call an upload finished that is no more, where another one's object is.
                if self._client.head_object(**self._which)["ETag"] != tag:
                    raise AlreadyThere(self._key)
            self._id = None

    def abort(self) -> None:
        """There is to be no object; nothing happens once it is finished."""
        with self._turn:
            self._is_over = True
            self._buffer.clear()
            if self._id is not None:
                # What can't be removed, the next writer or the bucket's lifecycle does; it must not hide why we are here.
                with suppress(StoreUnavailable, Denied), told(self._key), suppress(self._client.exceptions.NoSuchUpload):
                    self._client.abort_multipart_upload(**self._which, UploadId=self._id)
                self._id = None

    def _check(self) -> None:
        if self._is_over:
            raise StoreUnavailable(f"{self._key}: the upload was given up")

    def _complete(self) -> str:
        """The ETag of what is there now."""
        with told(self._key):
            try:
                done = self._client.complete_multipart_upload(
                    **self._which, UploadId=self._id, IfNoneMatch="*", MultipartUpload={"Parts": self._parts}
                )
            except self._client.exceptions.NoSuchUpload:
                # Finished by a first try whose answer was lost, or aborted by another writer.
                if self._is_there():
                    raise AlreadyThere(self._key) from None
                raise
            tag: str = done["ETag"]
            return tag

    def _is_there(self) -> bool:
        with suppress(NotThere), told(self._key):
            self._client.head_object(**self._which)
            return True
        return False

    def _send(self, size: int) -> None:
        with memoryview(self._buffer) as view:
            part = bytes(view[:size])
        del self._buffer[:size]
        number, checksum = len(self._parts) + 1, _checksum(part)
        with told(self._key):
            if self._id is None:
                self._id = self._client.create_multipart_upload(**self._which, ChecksumAlgorithm="SHA256", **self._attributes.request())[
                    "UploadId"
                ]
            sent = self._client.upload_part(**self._which, UploadId=self._id, PartNumber=number, Body=part, ChecksumSHA256=checksum)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum})


def _checksum(body: bytes) -> str:
    return b64encode(sha256(body).digest()).decode()
