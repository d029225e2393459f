"""Revisions in worktrees: the right source, and an environment that is made once for each lock."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.compare.checkout import CheckoutError, check_out

MAKEFILE = """\
.venv/bin/.installed: requirements.lock
\tmkdir -p .venv/bin
\techo installed >> .venv/installs
\ttouch $@
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits, ``one``, ``two`` and ``three``: the second has the packages of the first, the third has others."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".gitignore").write_text(".venv/\n.bench/\n")
    for name, lock in (("one", "a==1"), ("two", "a==1"), ("three", "a==2")):
        (tmp_path / "source").write_text(name)
        (tmp_path / "requirements.lock").write_text(lock)
        git(tmp_path, "add", ".")
        git(tmp_path, "-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "commit", "--quiet", "--message", name)
        git(tmp_path, "tag", name)
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True)


def test_a_revision_is_checked_out_beside_the_working_tree(repository: Path) -> None:
    (repository / "source").write_text("changed")
    found = check_out("one", repository)
    assert (found.root / "source").read_text() == "one"
    assert (repository / "source").read_text() == "changed"
    assert found.python == found.root / ".venv/bin/python"


def test_an_environment_is_made_once_for_each_lock(repository: Path) -> None:
    one, two, three = (check_out(name, repository) for name in ("one", "two", "three"))
    assert one.root == two.root != three.root
    assert (two.root / "source").read_text() == "two"
    assert (two.root / ".venv/installs").read_text() == (three.root / ".venv/installs").read_text() == "installed\n"


def test_what_was_left_in_the_worktree_does_not_count(repository: Path) -> None:
    found = check_out("one", repository)
    (found.root / "source").write_text("edited")
    assert (check_out("one", repository).root / "source").read_text() == "one"


def test_a_deleted_worktree_is_made_again(repository: Path) -> None:
    found = check_out("one", repository)
    subprocess.run(["rm", "-r", str(found.root)], check=True)
    assert (check_out("two", repository).root / "source").read_text() == "two"


def test_an_unknown_revision_is_refused(repository: Path) -> None:
    with pytest.raises(CheckoutError, match="rev-parse"):
        check_out("four", repository)
