"""Names that people give to companies, workspaces, projects and keys."""

from __future__ import annotations

import re

MOST = 200
"""Characters of a name."""
PATTERN = r"^[^\x00-\x1f\x7f]*$"
"""What a name is made of, as a regular expression of JSON Schema: no control characters."""
# A lone surrogate is what Python makes of an argument that is no UTF-8: no database takes it.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]").search


def check_name(name: str, field: str = "name") -> str:
    """The name, if it is one. Raises ``ValueError`` that names the field."""
    if not 1 <= len(name) <= MOST:
        raise ValueError(f"{field}: must have 1 to {MOST} characters")
    if _UNFIT(name):
        raise ValueError(f"{field}: must have no control characters")
    return name
