"""``hyrelog``: what an operator runs. Each module brings its own commands."""

from __future__ import annotations

import sys

import typer

from ops import admin, dead_letters, lifecycle, log, migrate, partitions, prepare, rekey, seed, unpark
from ops.export import command as export
from ops.jobs import command as jobs
from ops.local import commands as local_commands
from ops.relay import command as relay
from ops.restore import command as restore
from ops.tail import command as tail
from ops.tenancy import command as tenancy
from ops.verify import command as verify

_MODULES = (
    admin,
    local_commands,
    prepare,
    migrate,
    seed,
    tenancy,
    partitions,
    unpark,
    dead_letters,
    rekey,
    lifecycle,
    relay,
    jobs,
    restore,
    verify,
    export,
    tail,
)


def build() -> typer.Typer:
    """The command line with every module's commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="HyreLog, the verifiable audit log.")
    for module in _MODULES:
        module.register(app)
    return app


def main() -> None:
    """Run one command. What it says goes to stdout; lines of the log, as of any process, are JSON on stderr."""
    log.configure("WARNING", "hyrelog")
    build()(prog_name="hyrelog", args=sys.argv[1:])
