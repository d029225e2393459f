"""The S3 store: versitygw over a directory, with versions and Object Lock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ops.local import tools
from ops.local.environment import inherited, object_store
from ops.local.part import Part
from ops.local.probes import http_answers
from ops.local.state import State


def _keeps_attributes(directory: Path) -> bool:
    """Whether the file system has user attributes, where versitygw likes to keep an object's metadata."""
    try:
        os.setxattr(directory, "user.hyrelog", b"1")
    except (OSError, AttributeError):
        return False
    return True


def _command(state: State) -> Sequence[str]:
    home = state.root / "s3"
    objects, versions, metadata = home / "objects", home / "versions", home / "metadata"
    for directory in (objects, versions, metadata):
        directory.mkdir(parents=True, exist_ok=True)
    argv = [str(tools.versitygw()), "--port", f"127.0.0.1:{state.port('s3')}", "--quiet", "--keep-alive"]
    argv += ["posix", "--versioning-dir", str(versions)]
    if not _keeps_attributes(objects):
        argv += ["--sidecar", str(metadata)]
    return [*argv, str(objects)]


def _environ(state: State) -> dict[str, str]:
    settings = object_store(state)
    return {
        **inherited(),
        "ROOT_ACCESS_KEY_ID": settings["S3_ACCESS_KEY_ID"],
        "ROOT_SECRET_ACCESS_KEY": settings["S3_SECRET_ACCESS_KEY"],
        "VGW_REGION": settings["S3_REGION"],
    }


def part(state: State) -> Part:
    """The store; an unsigned request gets a refusal, which says that it is there."""
    return Part(
        name="s3",
        command=lambda: _command(state),
        ready=lambda: http_answers(state.port("s3"), "/"),
        cwd=state.root,
        ports=("s3",),
        environ=lambda: _environ(state),
        stop_seconds=10.0,
    )
