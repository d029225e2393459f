"""A revision in a worktree with an environment of its own.

Worktrees lie in ``.bench/``, one for each content of ``requirements.lock`` and ``pyproject.toml``, so that the environment
of one revision serves all that need the same packages. ``make clean`` deletes them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine

ROOT = Path(__file__).parents[3]
_WORKTREES = ROOT / ".bench"
_PACKAGES = ("requirements.lock", "pyproject.toml")


class CheckoutError(Exception):
    """The revision could not be checked out or its environment not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Source and environment of a build. ``name`` is for people, ``commit`` a short hash."""

    name: str
    commit: str
    root: Path
    python: Path


def this_checkout() -> Checkout:
    """The working tree, with changes that are not committed."""
    return Checkout("this", machine.commit(), ROOT, Path(sys.executable))


def check_out(revision: str) -> Checkout:
    """Check out a revision and install what its lock names, unless an earlier run did. Raises ``CheckoutError``."""
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    root = _WORKTREES / _packages_hash(commit)
    _git("worktree", "prune")
    if root.exists():
        _git("-C", str(root), "checkout", "--quiet", "--force", "--detach", commit)
    else:
        _git("worktree", "add", "--quiet", "--force", "--detach", str(root), commit)
    _run(["make", "--silent", "-C", str(root), ".venv/bin/.installed"])
    return Checkout(revision, commit[:7], root, root / ".venv" / "bin" / "python")


def _packages_hash(commit: str) -> str:
    contents = "".join(_git("rev-parse", f"{commit}:{name}") for name in _PACKAGES)
    return hashlib.sha256(contents.encode()).hexdigest()[:12]


def _git(*arguments: str) -> str:
    return _run(["git", *arguments])


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckoutError(f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
