"""``hyrelog admin``: the operator's everyday work under one roof. The commands are those that stand beside it, mounted once more."""

from __future__ import annotations

import typer

from ops import dead_letters
from ops.jobs import command as jobs
from ops.restore import command as restore
from ops.tenancy import command as tenancy


def register(app: typer.Typer) -> None:
    """Add the group ``admin``."""
    admin = typer.Typer(
        no_args_is_help=True, help="The operator's everyday work: companies, plans, keys, jobs, dead letters, restorations."
    )
    tenancy.register(admin)
    admin.add_typer(jobs.group(), name="jobs")
    dead_letters.register(admin)
    restore.register(admin)
    app.add_typer(admin, name="admin")
