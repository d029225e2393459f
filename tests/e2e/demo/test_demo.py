"""``hyrelog demo`` as a newcomer meets it: it tells its story, its lines can be pasted, and a kill -9 does not stay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.process import wait_for
from ops.local.stack import Stack
from ops.local.state import DEFAULT_PORTS, State

pytestmark = [
    pytest.mark.skipif(os.environ.get("HYRELOG_TEST_BACKEND") == "testcontainers", reason="the demo is the embedded stack"),
    pytest.mark.timeout(600),  # a first run on a machine builds the S3 store
]

_ROOT = Path(__file__).parents[3]
_STEPS = ["Accepted", "Stored", "Verified", "Announced"]
_HYRELOG = f"{sys.executable} -m ops"


class Demo:
    """A demo in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        state = State(root, fixed_ports=False)
        for name in DEFAULT_PORTS:
            state.port(name)  # chosen now, away from those of a demo that somebody may be running
        self.stack = Stack(state)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as a person would, from the clone's directory."""
        environ = {**os.environ, "HYRELOG_STATE": str(self.root)}
        return subprocess.run(["bash", "-c", command], cwd=_ROOT, env=environ, capture_output=True, text=True, check=False, timeout=500)

    def tell(self) -> str:
        """What ``hyrelog demo`` prints."""
        told = self.run(f"{_HYRELOG} demo")
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="hyrelog-demo-", ignore_cleanup_errors=True) as directory:
        demo = Demo(Path(directory) / "state")
        yield demo
        Stack(State(demo.root)).destroy()


def _seqs(story: str) -> list[int]:
    return [int(seq) for seq in re.findall(r"^│ +(\d+) +│ \w+\.\w+", story, re.MULTILINE)]


def _lines_to_paste(story: str) -> str:
    lines = story.partition("Paste these:")[2].partition("`make down`")[0]
    return lines.replace(".venv/bin/hyrelog", _HYRELOG)


def test_the_demo_follows_its_events_to_the_end(demo: Demo) -> None:
    story = demo.tell()
    assert _seqs(story) == [1, 2, 3]
    assert [word for word in _STEPS if word in story] == _STEPS


def test_a_second_run_goes_on_where_the_first_one_ended(demo: Demo) -> None:
    assert _seqs(demo.tell()) == [4, 5, 6]


def test_the_printed_lines_work_when_pasted(demo: Demo) -> None:
    pasted = demo.run(f"set -euo pipefail\n{_lines_to_paste(demo.tell())}")
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert '"status":"ACCEPTED"' in pasted.stdout
    assert '"error"' not in pasted.stdout


def test_gateway_and_worker_come_back_after_a_kill(demo: Demo) -> None:
    """And the chain goes on without a gap."""
    before = _seqs(demo.tell())
    for name in ("gateway", "worker-1"):
        demo.stack.kill(name)
    assert wait_for(lambda: demo.stack.is_ready("gateway") and demo.stack.is_ready("worker-1"), 60)
    assert _seqs(demo.tell()) == [seq + 3 for seq in before]


def test_everything_killed_at_once_is_healed_by_the_next_run(demo: Demo) -> None:
    before = _seqs(demo.tell())
    for name in ("supervisor", "gateway", "relay", "search", "webhooks", "archive", "scheduler", "worker-1", "kafka", "postgres", "s3"):
        demo.stack.kill(name)
    assert _seqs(demo.tell()) == [seq + 3 for seq in before]


def test_status_shows_every_part_as_healthy(demo: Demo) -> None:
    demo.tell()
    shown = demo.run(f"{_HYRELOG} status").stdout
    assert shown.count("yes") == len(demo.stack.runners)


def test_workers_can_be_added_and_taken_away(demo: Demo) -> None:
    demo.tell()
    for count in (3, 1):
        assert demo.run(f"{_HYRELOG} up --workers {count}").returncode == 0
        running = [path.stem for path in (demo.root / "run").glob("worker-*.json")]
        assert len(running) == count
    assert demo.run(f"{_HYRELOG} up").stdout.count("worker-") == 1


def test_logs_of_one_part(demo: Demo) -> None:
    demo.tell()
    assert "database system is ready" in demo.run(f"{_HYRELOG} logs postgres").stdout
    assert demo.run(f"{_HYRELOG} logs nobody").returncode != 0
