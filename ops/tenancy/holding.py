"""What commands about tenants have in common: finding what an id names, in which region it may be, and telling what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from ops.local.environment import Role, ambient_environ, settings_of
from ops.regions import find_in
from ops.settings import Settings
from ops.tenancy.registry import Acting, Refused, Registry, open_registry, operator
from ops.tenancy.terms import Kind
from schemas.topics import Region

Where = Annotated[Region | None, typer.Option("--region", help="Its region; without it, all served ones are asked.", case_sensitive=False)]
NewName = Annotated[str, typer.Argument(help="Its name.")]


def operators_settings() -> Settings:
    """In the role of the operator's commands."""
    return settings_of(Settings, ambient_environ(Role.ADMIN))


def acting(settings: Settings) -> Acting:
    """The operator, who does not wait for ever."""
    return replace(operator(), statement_seconds=settings.statement_timeout_seconds)


@contextmanager
def holding(kind: Kind, id: UUID, region: Region | None) -> Iterator[Registry]:
    """The transaction in the region that has it. Exits with 1 when none has, or what is done in it is refused, which the audit is told."""
    settings = operators_settings()
    who = acting(settings)

    def has(where: Region) -> list[bool]:
        with open_registry(settings, where, acting=who) as registry:
            return [True] if registry.has(kind, id) else []

    with told():
        where, _is_there = find_in((region,) if region else settings.regions, has, f"{kind} {id}")
        try:
            with open_registry(settings, where, acting=who) as registry:
                yield registry
        except Refused as error:
            if error.denied is not None:
                with open_registry(settings, where, acting=who) as registry:
                    registry.deny(error.denied)
            raise


@contextmanager
def told() -> Iterator[None]:
    """What is refused, or can't be had, is told in a sentence, and the command exits with 1; with 2 for what makes no sense anywhere."""
    try:
        yield
    except (Refused, psycopg.Error, ValueError) as error:
        typer.echo(f"hyrelog: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ValueError) else 1) from None
