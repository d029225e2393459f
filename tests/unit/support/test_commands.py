"""Documents are run as they stand: what a block may be told, what it leaves to the next one, and how it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ops.local.process import wait_for
from tests.support.commands import Block, CommandFailed, Shell, blocks, walk

Writer = Callable[[str], Path]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell({"PATH": os.environ["PATH"]}, tmp_path) as shell:
        yield shell


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def written(text: str) -> Path:
        path = tmp_path / "page.md"
        path.write_text(text)
        return path

    return written


def bash(script: str, said: str = "") -> str:
    return (f"<!-- {said} -->\n" if said else "") + f"```bash\n{script}\n```\n"


def block(script: str, **told: object) -> Block:
    return Block(Path("page.md"), 1, script, **told)  # type: ignore[arg-type]  # the fields, by their names


def test_bash_blocks_are_found_in_their_order_and_no_others(write: Writer) -> None:
    found = blocks(write("# Page\n\n" + bash("one") + "\n```text\nnot this\n```\n\n" + bash("two\nlines")))
    assert [(each.line, each.script) for each in found] == [(3, "one\n"), (11, "two\nlines\n")]


def test_a_comment_tells_the_block_below_it(write: Writer) -> None:
    (first, second) = blocks(write(bash("one", "needs: a flood; exit: 3; expect: a: b; expect: c; within: 1.5") + bash("two")))
    assert (first.needs, first.exit, first.expect, first.within) == ("a flood", 3, ("a: b", "c"), 1.5)
    assert (second.needs, second.exit, second.expect, second.within) == (None, 0, (), 0.0)


@pytest.mark.parametrize("said", ["expects: x", "exit", "expect:", "exit: 1; exit: 2"])
def test_what_no_block_can_be_told_is_refused(write: Writer, said: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:2"):
        blocks(write(bash("one", said)))


def test_the_next_block_has_variables_functions_and_the_directory(shell: Shell, tmp_path: Path) -> None:
    shell.run(block("A='two words'\nmkdir -p in && cd in\ngreet() { echo hello; }"))
    assert shell.run(block('greet; echo "$A"; pwd')) == f"hello\ntwo words\n{tmp_path}/in\n"


def test_a_block_ends_at_the_first_command_that_fails(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="exit code 1 ") as failed:
        shell.run(block("echo before\nfalse | cat\necho after"))
    assert "before\n" in str(failed.value)
    assert "\nafter" not in str(failed.value).partition("which printed")[2]


def test_a_block_has_to_print_what_it_is_told(shell: Shell) -> None:
    shell.run(block("echo this >&2; exit 4", exit=4, expect=("this",)))
    with pytest.raises(CommandFailed, match="not printed: that"):
        shell.run(block("echo this", expect=("that",)))


def test_a_block_is_repeated_until_it_is_as_told(shell: Shell) -> None:
    shell.run(block("N=$((${N:-0} + 1)); echo $N; test $N -gt 2", expect=("3",), within=10))


def test_a_block_that_does_not_end_is_ended(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="none within 0 s"):
        shell.run(block("echo begun; sleep 100"), seconds=0.3)


def test_nothing_in_the_background_outlives_the_shell(tmp_path: Path) -> None:
    with Shell({"PATH": os.environ["PATH"]}, tmp_path) as shell:
        process = psutil.Process(int(shell.run(block("sleep 100 & echo $!"))))
        assert process.is_running()
    assert wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 5)


def test_a_walk_prepares_what_blocks_need_and_says_what_nobody_does(shell: Shell, write: Writer) -> None:
    page = write(bash("echo 1") + bash("cat made", "needs: a file"))
    outputs = [output for _, output in walk(page, shell, {"a file": lambda: (page.parent / "made").symlink_to(page)})]
    assert outputs == ["1\n", page.read_text()]
    for prepare in ({}, {"a file": lambda: None, "a flood": lambda: None}):
        with pytest.raises(CommandFailed, match="a file"):
            list(walk(page, shell, prepare))
