"""The receivers of the docs, run as they are told to be: they take what is genuine and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

import ops
from schemas import webhooks
from schemas.webhooks import Secrets, make_secret

EXAMPLES = Path(ops.__file__).parent / "docs" / "examples"
NEW, OLD, STRANGERS = (make_secret(bytes([n] * 32)) for n in range(3))
ID = "0198c0de-0000-7000-8000-00000000000a"
BODY = webhooks.test_body(ID, 0)
SIGNATURES = ("webhook-signature", "x-hyrelog-signature")
Post: TypeAlias = Callable[[dict[str, str], bytes], int]
Start: TypeAlias = Callable[[str], Post]


@pytest.fixture(params=["receiver_plain.py", "receiver_standard.py"])
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(example: str) -> Iterator[Start]:
    """Runs the example with a secret; what comes back posts to it and says how it answered."""
    with ExitStack() as ending:

        def run(secret: str) -> Post:
            port = _free_port()
            environ = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
            process = ending.enter_context(subprocess.Popen([sys.executable, EXAMPLES / example], env=environ, stderr=subprocess.DEVNULL))
            ending.callback(process.kill)
            transport = httpx.HTTPTransport(retries=10)  # until it listens
            client = ending.enter_context(httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", trust_env=False))

            def post(headers: dict[str, str], body: bytes) -> int:
                return client.post(
                    "/hook", content=body, headers={name.encode(): value.encode() for name, value in headers.items()}
                ).status_code

            return post

        yield run


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def signed(secrets: Secrets, body: bytes = BODY, seconds: int = 0) -> dict[str, str]:
    """Headers of a request that is made so many seconds from now."""
    return webhooks.signed_headers(secrets, delivery_id=ID, timestamp=int(time.time()) + seconds, body=body)


def test_takes_what_is_genuine_and_nothing_that_was_changed(start: Start) -> None:
    post = start(NEW)
    good = signed(Secrets(NEW))
    assert post(good, BODY) == 200
    assert post({name.title(): value for name, value in good.items()}, BODY) == 200
    assert post(good, BODY.replace(b"T", b"t")) == 401
    assert post(good, b"") == 401
    assert post(signed(Secrets(STRANGERS)), BODY) == 401
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert post({key: value for key, value in good.items() if key != name}, BODY) == 401
        for nonsense in ("", "v1", "v1,", "v1,%%%", "ä", "1" * 400, "-1", "1e9", "nan"):
            assert post(good | {name: nonsense}, BODY) == 401
    assert post(good, BODY) == 200


def test_takes_nothing_old_and_nothing_of_the_future(start: Start) -> None:
    """Who wrote a request down can't play it again."""
    post = start(NEW)
    assert post(signed(Secrets(NEW), seconds=-200), BODY) == 200
    assert post(signed(Secrets(NEW), seconds=-400), BODY) == 401
    assert post(signed(Secrets(NEW), seconds=400), BODY) == 401
    assert post(signed(Secrets(NEW), seconds=-400) | {"webhook-timestamp": str(int(time.time()))}, BODY) == 401


def test_a_rotation_is_not_noticed(start: Start, example: str) -> None:
    """Before it, during it and after it, by whoever knows the old secret, then both or either, then the new one."""
    during = start(f"{NEW},{OLD}" if example == "receiver_plain.py" else NEW)
    before = start(OLD)
    assert before(signed(Secrets(OLD)), BODY) == 200
    assert before(signed(Secrets(NEW, OLD)), BODY) == 200
    assert before(signed(Secrets(NEW)), BODY) == 401
    assert during(signed(Secrets(NEW, OLD)), BODY) == 200
    assert during(signed(Secrets(NEW)), BODY) == 200


@pytest.mark.parametrize("example", ["receiver_plain.py"])
def test_the_plain_one_wants_both_signatures(start: Start) -> None:
    post = start(NEW)
    good, strangers = signed(Secrets(NEW)), signed(Secrets(STRANGERS))
    assert post(good, BODY) == 200
    for name in SIGNATURES:
        assert post(good | {name: strangers[name]}, BODY) == 401
        assert post({key: value for key, value in good.items() if key != name}, BODY) == 401
