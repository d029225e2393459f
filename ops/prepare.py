"""``hyrelog prepare``: all that a deployment needs before its services start."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import typer

from ops.kafka import TopicMismatch, TopicRefused, ensure_topics
from ops.local.environment import Role, ambient_environ, settings_of
from ops.migrate import migrate
from ops.objects import ensure_buckets
from ops.settings import Settings


def prepare(settings: Settings, *, is_demo: bool = False) -> None:
    """Migrate the databases, make missing topics and buckets. The settings are the database owner's."""
    with ThreadPoolExecutor() as pool:
        steps = [
            pool.submit(_migrate_all, settings, is_demo=is_demo),
            pool.submit(lambda: asyncio.run(ensure_topics(settings))),
            pool.submit(ensure_buckets, settings),
        ]
        for step in steps:
            step.result()


def _migrate_all(settings: Settings, *, is_demo: bool) -> None:
    for region in settings.regions:
        migrate(settings.database_url(region), region, is_demo=is_demo)


def register(app: typer.Typer) -> None:
    """Add the command ``prepare``."""
    app.command("prepare")(prepare_command)


def prepare_command() -> None:
    """Migrate the databases, and make the topics and buckets that are missing."""
    try:
        prepare(settings_of(Settings, ambient_environ(Role.OWNER)))
    except (TopicMismatch, TopicRefused) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
