"""Load on the HTTP port: by wrk, or by our own poster where wrk is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple, Protocol

from tests.bench import child
from tests.bench.stats import Percentiles, percentiles

CONNECTIONS = 64
_SLACK_SECONDS = 60
_SCRIPT = Path(__file__).with_name("wrk.lua")
_SUMMARY = re.compile(r"^SUMMARY (.+)$", re.MULTILINE)
_NANOS = 1e9
_MICROS = 1e6


class LoadError(Exception):
    """Some requests were not accepted: what was measured is not what was meant."""


class Load(NamedTuple):
    """What a generator did: requests that were accepted, in how long, and what it cost itself. Latencies are in seconds."""

    requests: int
    seconds: float
    latency: Percentiles
    cpu_seconds: float
    peak_bytes: int


class Generator(Protocol):
    """Sends the requests of a directory in turn, over ``connections`` at once, each as soon as the one before is answered."""

    @property
    def name(self) -> str:
        """How the table calls it."""
        ...

    def run(self, port: int, requests: Path, seconds: float, connections: int) -> Load:
        """Raises ``LoadError`` when a request was refused or a connection broke."""
        ...


def generator() -> Generator:
    """wrk when it is there."""
    found = shutil.which("wrk")
    return Wrk(found) if found else Poster()


@dataclass(frozen=True, slots=True)
class Wrk:
    """https://github.com/wg/wrk, one thread."""

    binary: str
    name: str = "wrk"

    def run(self, port: int, requests: Path, seconds: float, connections: int) -> Load:
        """As the protocol says. A request still under way at the end is not counted, though it may be accepted."""
        options = [f"-c{connections}", "-t1", f"-d{seconds:.0f}s", "--timeout=10s", "-s", str(_SCRIPT)]
        ended = child.run(
            [self.binary, *options, f"http://127.0.0.1:{port}", "--", str(requests), os.urandom(4).hex()], seconds + _SLACK_SECONDS
        )
        found = _SUMMARY.search(ended.output)
        if found is None:
            raise LoadError(f"wrk told no summary\n{ended.output}")
        told = json.loads(found[1])
        if told["refused"] or told["broken"]:
            raise LoadError(f"wrk: {told['refused']} requests were refused, {told['broken']} connections broke")
        latency = Percentiles(told["p50"] / _MICROS, told["p99"] / _MICROS)
        return Load(told["requests"], told["micros"] / _MICROS, latency, ended.cpu_seconds, ended.peak_bytes)


class Answer(NamedTuple):
    """One accepted request. Times are the monotonic clock's, in seconds."""

    due: float
    answered: float
    id: str


@dataclass(frozen=True, slots=True)
class Poster:
    """``tests.bench.poster`` in a process of its own."""

    name: str = "poster"

    def run(self, port: int, requests: Path, seconds: float, connections: int) -> Load:
        """As the protocol says."""
        ended, answers = self.post(port, requests, seconds, connections)
        latency = percentiles([answer.answered - answer.due for answer in answers])
        return Load(len(answers), seconds, latency, ended.cpu_seconds, ended.peak_bytes)

    def post(self, port: int, requests: Path, seconds: float, connections: int, rate: float = 0) -> tuple[child.Finished, list[Answer]]:
        """``rate`` requests a second, whatever the answers do; 0 is as many as will go. Raises ``LoadError``."""
        with NamedTemporaryFile("r", prefix="hyrelog-bench-") as out:
            numbers = (port, requests, seconds, connections, rate, out.name)
            ended = child.run([sys.executable, "-m", "tests.bench.poster", *map(str, numbers)], seconds + _SLACK_SECONDS)
            answers = [_answer(line) for line in out]
        return ended, answers


def _answer(line: str) -> Answer:
    due, answered, status, event_id = line.split()
    if status != "202":
        raise LoadError(f"the poster's request was answered {status}")
    return Answer(int(due) / _NANOS, int(answered) / _NANOS, event_id)
