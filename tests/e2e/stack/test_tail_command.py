"""``hyrelog tail`` against the real thing: posted, seen, and seen again from where a run before ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from tests.support.posting import Producer
from tests.support.stack import LocalStack

ROOT = Path(__file__).parents[3]


@contextmanager
def tailing(directory: Path, url: str, key: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command with ``--json``, ended by Ctrl-C."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HYRELOG_URL": url, "HYRELOG_WORKSPACE_KEY": key}
    command = [sys.executable, "-m", "ops", "tail", "--json", *words]
    with subprocess.Popen(command, env=environ, cwd=directory, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)


def told(process: subprocess.Popen[bytes], count: int) -> list[int]:
    """The seqs of the next events."""
    assert process.stdout
    return [orjson.loads(process.stdout.readline())["seq"] for _ in range(count)]


def test_a_tail_is_followed_left_and_taken_up_again(stack: LocalStack, tmp_path: Path) -> None:
    with httpx.Client(base_url=stack.base_url, timeout=35) as client:
        producer = Producer(stack, client)
        key, company = producer.workspace.key or "", producer.tenant.key or ""
        for _ in range(3):
            producer.store()
        with tailing(tmp_path, stack.base_url, key, "--since", "1h", "--resume", "position") as tail:
            assert told(tail, 3) == [1, 2, 3]
            producer.store()
            assert told(tail, 1) == [4]
        producer.store()
        producer.store({"action": "logout"})
        with tailing(tmp_path, stack.base_url, key, "--resume", "position") as tail:
            assert told(tail, 2) == [5, 6]
        with tailing(tmp_path, stack.base_url, company, "--since", "1h", "--action", "logout") as tail:
            assert told(tail, 1) == [6]
        foreign = (tmp_path / "position").read_text().strip()
        with tailing(tmp_path, stack.base_url, company, "--last-event-id", foreign) as tail:
            assert tail.wait(20) == 1, "a workspace's position is none of the company's"
