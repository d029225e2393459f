"""Is a part ready? Each probe asks in the part's own protocol, answers within two seconds and never raises."""

from __future__ import annotations

import http.client
import socket
import struct

import psycopg

_TIMEOUT_SECONDS = 2
# ApiVersions (18) version 0, correlation id 0, a null client id: any Kafka broker answers it, before authentication.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 0, -1)


def kafka_answers(port: int) -> bool:
    """Whether a broker answers an ApiVersions request."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS) as connection:
            connection.sendall(_API_VERSIONS)
            return len(connection.recv(4)) > 0
    except OSError:
        return False


def postgres_answers(url: str) -> bool:
    """Whether the server lets us in and runs a statement."""
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def http_answers(port: int, path: str, *, status: int | None = None) -> bool:
    """Whether ``GET path`` is answered: with ``status``, or with anything when that is ``None``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status is None or answer == status
