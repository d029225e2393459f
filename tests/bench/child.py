"""A child process and what it cost."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class ChildError(Exception):
    """The child ended with an error; the message is the end of its output."""


class Finished(NamedTuple):
    """A child that ended well."""

    output: str
    cpu_seconds: float
    peak_bytes: int


def run(argv: Sequence[str], timeout: float, environ: Mapping[str, str] | None = None) -> Finished:
    """Run to the end; after ``timeout`` seconds it is killed. Raises ``ChildError``."""
    child = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = threading.Timer(timeout, child.kill)
    deadline.start()
    try:
        assert child.stdout is not None
        with child.stdout:
            output = child.stdout.read()
        # Not Popen.wait: the kernel tells what a child has cost only to who reaps it.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        deadline.cancel()
    if child.returncode != 0:
        raise ChildError(f"{argv[0]} ended with {child.returncode}\n{output[-2000:]}")
    return Finished(output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
