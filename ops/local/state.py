"""What a stack remembers between runs: its directory, its ports and its secrets."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.local import ports

DEFAULT_ROOT = Path(".hyrelog")
DEFAULT_PORTS = {"gateway": 3000, "postgres": 15432, "kafka": 19092, "controller": 19093, "s3": 19000}
_FILE = "state.json"


def default_root() -> Path:
    """The state directory of the demo: ``HYRELOG_STATE``, else ``.hyrelog`` below the working directory."""
    return Path(os.environ.get("HYRELOG_STATE") or DEFAULT_ROOT)


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a file that only its owner can read."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)


class State:
    """The remembered facts of the stack in ``root``; made at first use, then kept.

    ``fixed_ports`` prefers the demo's well-known ports; without it every port is a free one.
    """

    def __init__(self, root: Path, *, fixed_ports: bool = True) -> None:
        self.root = root.absolute()
        self._fixed_ports = fixed_ports
        self._make_directories()
        self._ports: dict[str, int] = {}
        self._secrets: dict[str, str] = {}
        self.reload()

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether a stack was ever started in ``root``."""
        return (root / _FILE).exists()

    def _make_directories(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        # When we are root PostgreSQL runs as another user, which must get through to its own directory.
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for private in ("run", "log", "kafka", "s3"):
            (self.root / private).mkdir(mode=0o700, exist_ok=True)

    def reload(self) -> None:
        """Read again what another process of the same stack may have decided."""
        if State.exists(self.root):
            remembered = json.loads((self.root / _FILE).read_text())
            self._ports, self._secrets = remembered["ports"], remembered["secrets"]

    @contextmanager
    def locked(self, name: str = "stack") -> Iterator[None]:
        """Hold the stack's lock of that name against other processes (and other ``State`` objects)."""
        with (self.root / "run" / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def port(self, name: str) -> int:
        """The port of ``name``: chosen at first use, the same ever after."""
        if name not in self._ports:
            self._decide(lambda: self._ports.setdefault(name, self._pick_port(name)))
        return self._ports[name]

    def move_port(self, name: str) -> None:
        """Choose another port for ``name``, as somebody else now listens on its own."""
        self._decide(lambda: self._ports.update({name: self._pick_port(name)}))

    def secret(self, name: str) -> str:
        """The secret of that name, 64 hex digits: made at first use, the same ever after."""
        if name not in self._secrets:
            self._decide(lambda: self._secrets.setdefault(name, secrets.token_hex(32)))
        return self._secrets[name]

    def previous_secret(self, name: str) -> str | None:
        """What that secret was before, while it is rotated: nobody makes it but who writes ``name_previous`` into the file."""
        return self._secrets.get(f"{name}_previous")

    def adopt_secrets(self, secrets: Mapping[str, str]) -> None:
        """Take these secrets over, as with a copy of another stack's data."""
        self._decide(lambda: self._secrets.update(secrets))

    def _decide(self, change: Callable[[], object]) -> None:
        with self.locked("state"):
            self.reload()
            change()
            write_private(self.root / _FILE, json.dumps({"ports": self._ports, "secrets": self._secrets}, indent=2))

    def _pick_port(self, name: str) -> int:
        preferred = DEFAULT_PORTS.get(name) if self._fixed_ports else None
        return ports.pick(preferred, avoid=frozenset(self._ports.values()))
