"""What the object store answers when it does not do what it was asked to, in our words: whether to try again is told by the kind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from ops.objects import AlreadyThere, Cold, Denied, NotThere, ObjectStore, StoreUnavailable, Unsupported

BUCKET, KEY = "bucket", "key"


def client(endpoint: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=5),
    )


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("PreconditionFailed", 412, AlreadyThere),
        ("ConditionalRequestConflict", 409, StoreUnavailable),
        ("OperationAborted", 409, StoreUnavailable),
        ("SlowDown", 503, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("RequestTimeout", 400, StoreUnavailable),
        ("NoSuchBucket", 404, StoreUnavailable),
        ("SignatureDoesNotMatch", 403, StoreUnavailable),
        ("AccessDenied", 403, Denied),
        ("NotImplemented", 501, Unsupported),
    ],
)
def test_what_a_write_is_refused_with(code: str, status: int, expected: type[Exception]) -> None:
    s3 = client()
    with Stubber(s3) as stub:
        stub.add_client_error("put_object", code, http_status_code=status)
        with pytest.raises(expected):
            ObjectStore(s3, BUCKET).put_new(KEY, b"body")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchKey", 404, NotThere),
        ("InvalidObjectState", 403, Cold),
        ("InternalError", 500, StoreUnavailable),
        ("AccessDenied", 403, Denied),
    ],
)
def test_what_a_read_is_refused_with(code: str, status: int, expected: type[Exception]) -> None:
    s3 = client()
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)
        with pytest.raises(expected):
            ObjectStore(s3, BUCKET).get(KEY)


def test_a_refusal_to_delete_what_is_not_locked_is_no_lock() -> None:
    """Keys that may not delete must not look like archives that may not be deleted: nothing would ever expire, and nobody would know."""
    s3 = client()
    with Stubber(s3) as stub:
        stub.add_response("list_object_versions", {"Versions": [{"Key": KEY, "VersionId": "1"}]})
        stub.add_client_error("delete_object", "AccessDenied", http_status_code=403)
        stub.add_response("head_object", {})
        stub.add_client_error("get_object_retention", "NoSuchObjectLockConfiguration", http_status_code=404)
        stub.add_client_error("get_object_legal_hold", "NoSuchObjectLockConfiguration", http_status_code=404)
        with pytest.raises(Denied):
            ObjectStore(s3, BUCKET).delete(KEY)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives one request that answer and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="no answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly the beginning", id="cut off"),
        pytest.param(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", id="without a body"),
    ],
)
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    """A reader must never take the beginning of an object for all of it."""
    with answering(answer) as endpoint, pytest.raises(StoreUnavailable):
        ObjectStore(client(endpoint), BUCKET).get(KEY)
