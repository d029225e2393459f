"""Each HTTP app as a process of its own, as production runs it: settings from the environment, ended by SIGTERM."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from ops.local import ports
from ops.local.environment import Role, service_environ
from ops.local.probes import http_answers
from ops.local.process import wait_for
from tests.support.stack import LocalStack

_ROOT = Path(__file__).parents[2]


@contextmanager
def _serving(servers: LocalStack, module: str, role: Role) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = ports.pick()
    environ = {**os.environ, **service_environ(servers.state, role), "HTTP_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", module], cwd=_ROOT, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_for(lambda: http_answers(port, "/ready", status=200), 30)
            yield process, port
        finally:
            process.kill()


@pytest.mark.parametrize(("module", "role"), [("ingest", Role.INGEST), ("api", Role.API)])
def test_it_becomes_ready_and_ends_when_told(servers: LocalStack, module: str, role: Role) -> None:
    with _serving(servers, module, role) as (process, _):
        process.terminate()
        assert process.wait(25) in (0, -SIGTERM)


def test_a_request_under_way_is_answered_before_the_end(servers: LocalStack) -> None:
    """A deployment replaces processes while producers send."""
    key = servers.tenant().workspaces[0].key
    body = b'{"category":"auth","action":"user.login"}'
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    with _serving(servers, "ingest", Role.INGEST) as (process, port), socket.create_connection(("127.0.0.1", port), 20) as producer:
        producer.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        process.terminate()
        assert wait_for(lambda: ports.is_free(port), 10)
        producer.sendall(body[10:])
        assert producer.recv(4096).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("blank", ["", " ", "\t", " \t "])
def test_white_space_behind_a_header_is_no_part_of_it(servers: LocalStack, blank: str) -> None:
    """RFC 9110 §5.5. A client that writes a blank behind an idempotency key would store its event a second time."""
    key = servers.tenant().workspaces[0].key
    body = b'{"category":"auth","action":"user.login"}'

    def post(tail: str) -> Any:
        head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}{tail}\r\nIdempotency-Key: k1{tail}\r\n"
        head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), 20) as producer, producer.makefile("rb") as answer:
            producer.sendall(head.encode() + body)
            status, _, rest = answer.read().partition(b"\r\n")
        assert b" 202 " in status, rest
        return json.loads(rest.partition(b"\r\n\r\n")[2])["id"]

    with _serving(servers, "ingest", Role.INGEST) as (_, port):
        assert post(blank) == post("")


@pytest.mark.parametrize("module", ["ingest", "api", "streams"])
def test_without_its_secrets_it_refuses_to_start(module: str) -> None:
    """And says which are missing, without a default to fall back on."""
    environ = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    started = subprocess.run(
        [sys.executable, "-m", module], cwd=_ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode != 0
    assert "api_key_secret" in started.stderr
