"""What is found in a file, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from ops.verify.exports import Stretch

_SHOWN_STRETCHES: Final = 20


class Verdict(Enum):
    """What can be said of a file."""

    INTACT = auto()
    BROKEN = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: the line (from 1; 0: the file as a whole), the field, and what was found."""

    line: int
    field: str
    message: str


@dataclass(slots=True)
class Checked:
    """A file that was looked at."""

    path: Path
    rows: int = 0
    seconds: float = 0.0
    verdict: Verdict = Verdict.INTACT
    words: str = ""
    """What was proven, and what was not."""
    findings: list[Finding] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    """The chains in it, where it holds any."""

    def sentences(self) -> Iterator[str]:
        """The findings, a line each."""
        for found in self.findings:
            place = f" line {found.line}" if found.line else ""
            yield f"{self.path}{place} {found.field}: {found.message}"

    def summary(self) -> Iterator[str]:
        """What to print of it."""
        rate = f" in {self.seconds:.1f} s ({self.rows / self.seconds:,.0f}/s)" if self.seconds else ""
        yield f"{self.path}: {self.rows:,} events{rate}: {self.words}"
        if self.verdict is not Verdict.BROKEN and len(self.stretches) <= _SHOWN_STRETCHES:
            for each in self.stretches:
                yield f"  workspace {each.workspace_id}: seq {each.first_seq} to {each.last_seq}, ends with hash {each.last_hash}"

    def broken(self, line: int, field: str, message: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(line, field, message))
        self.verdict, self.words = Verdict.BROKEN, f"NOT intact, {len(self.findings)} finding{'s'[: len(self.findings) > 1]}"

    def unknown(self, words: str) -> None:
        """Nothing is wrong, and not enough is proven."""
        self.verdict, self.words = Verdict.UNKNOWN, f"can't tell: {words}"


def contradictions(files: Iterable[Checked]) -> Iterator[str]:
    """Where two files tell an event's hash differently: they can't both be of one chain. A sentence each."""
    known: dict[tuple[str, int], tuple[str, Path]] = {}
    for checked in files:
        for each in checked.stretches:
            ends = ((each.first_seq - 1, each.first_prev_hash), (each.first_seq, each.first_hash), (each.last_seq, each.last_hash))
            for seq, told in ends:
                before, path = known.setdefault((each.workspace_id, seq), (told, checked.path))
                if before != told:
                    yield f"{checked.path}: workspace {each.workspace_id} seq {seq} has the hash {told}, in {path} it has {before}"
