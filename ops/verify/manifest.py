"""An export's manifest: where it is, and where a file is not what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

MANIFEST: Final = ".manifest.json"
"""Behind a file's name: what the export came to."""
_MEMBERS: Final = frozenset(("rows", "bytes", "sha256", "filtered"))

Manifest = Mapping[str, Any]


class NoManifest(Exception):
    """What should be a manifest is none."""


def is_manifest(value: object) -> bool:
    """Whether a JSON value has what is compared with."""
    if not isinstance(value, dict) or not value.keys() >= _MEMBERS:
        return False
    workspaces = value.get("workspaces", [])
    return isinstance(workspaces, list) and all(isinstance(each, dict) for each in workspaces)


def read_manifest(path: Path, given: Path | None) -> Manifest | None:
    """The manifest that was named, or is beside the file (or beside the same without its .gz or .zst). Raises ``NoManifest``."""
    beside = [path.with_name(path.name + MANIFEST)]
    if path.suffix in (".gz", ".zst"):
        beside.append(path.with_name(path.stem + MANIFEST))
    found = given or next((each for each in beside if each.exists()), None)
    if found is None:
        return None
    with suppress(OSError, orjson.JSONDecodeError):
        manifest: Manifest = orjson.loads(found.read_bytes())
        if is_manifest(manifest):
            return manifest
    raise NoManifest(f"{found} is no manifest of an export")


def differences(manifest: Manifest, *, rows: int | None, size: int, sha256: str) -> Iterator[tuple[str, str]]:
    """Where the unpacked file is another one, as (field, message). ``rows`` is ``None`` where they can't be counted."""
    for name, ours in (("rows", rows), ("bytes", size), ("sha256", sha256)):
        if ours is not None and str(manifest[name]) != str(ours):
            yield name, f"is {ours}, the manifest says {manifest[name]}"
