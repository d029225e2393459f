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
_WORKTREES = ".bench"
_LOCK = "requirements.lock"
_PACKAGES = (_LOCK, "pyproject.toml")


class CheckoutError(Exception):
    """The revision could not be checked out or its environment not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Source and environment of a build. ``name`` is for people, ``commit`` a short hash, ``lock`` what its ``requirements.lock`` holds."""

    name: str
    commit: str
    root: Path
    python: Path
    lock: bytes


def this_checkout() -> Checkout:
    """The working tree, with changes that are not committed."""
    return Checkout("this", machine.commit(), ROOT, Path(sys.executable), (ROOT / _LOCK).read_bytes())


def check_out(revision: str, root: Path = ROOT) -> Checkout:
    """Check out a revision and install what its lock names, unless an earlier run did. Raises ``CheckoutError``."""
    commit = _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}")
    worktree = root / _WORKTREES / _packages_hash(root, commit)
    _git(root, "worktree", "prune")
    if worktree.exists():
        _git(worktree, "checkout", "--quiet", "--force", "--detach", commit)
    else:
        _git(root, "worktree", "add", "--quiet", "--detach", str(worktree), commit)
    _run(worktree, "make", "--silent", ".venv/bin/.installed")
    return Checkout(revision, commit[:7], worktree, worktree / ".venv" / "bin" / "python", (worktree / _LOCK).read_bytes())


def _packages_hash(root: Path, commit: str) -> str:
    contents = "".join(_git(root, "rev-parse", f"{commit}:{name}") for name in _PACKAGES)
    return hashlib.sha256(contents.encode()).hexdigest()[:12]


def _git(root: Path, *arguments: str) -> str:
    return _run(root, "git", *arguments)


def _run(directory: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckoutError(f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
