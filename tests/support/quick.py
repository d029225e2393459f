"""``hyrelog`` for a page's many blocks: a program of that name which hands its words to this process, where all is imported already.

Starting Python with all that commands need takes longer than most of them. Exit codes and both streams are the commands' own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, UnixStreamServer
from threading import Thread

from ops.cli import build
from tests.support.commanding import invoke

_CLIENT = """#!{python} -IS
import json, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    code, out, err = json.loads(server.makefile("rb").read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@contextmanager
def quick_hyrelog(environ: Mapping[str, str]) -> Iterator[Path]:
    """A directory for the PATH that holds the program. Its commands work in this process's environment with ``environ`` over it."""
    app = build()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            done = invoke(app, tuple(json.loads(self.rfile.readline())), environ)
            self.wfile.write(json.dumps([done.exit_code, done.stdout, done.stderr]).encode())

    with tempfile.TemporaryDirectory(prefix="hyrelog-quick-") as directory:
        address = str(Path(directory) / "socket")
        program = Path(directory) / "hyrelog"
        program.write_text(_CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o700)
        with UnixStreamServer(address, Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield Path(directory)
            finally:
                server.shutdown()
