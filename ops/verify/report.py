"""What a run found, as it goes to the operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.chain import Finding

MAX_FINDINGS = 1000


@dataclass(slots=True)
class Report:
    """Counts what was walked and keeps the first findings: the first of each chain, a thousand at most."""

    tell: Callable[[Finding], None]
    """Called with each finding at once."""
    events: int = 0
    workspaces: int = 0
    repeats: int = 0
    """Records of the topic that came again: at-least-once, and harmless."""
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding | None) -> None:
        """Note a finding; ``None`` is none."""
        if finding is None:
            return
        self.found += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
            self.tell(finding)


def sentence(finding: Finding) -> str:
    """One line: where, which field, what."""
    return f"workspace {finding.workspace_id} seq {finding.seq} {finding.field}: {finding.message}"
