"""Tenants as JSON objects, with the names that they have in the API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ops.tenancy.registry import Registry
from ops.tenancy.terms import Key, time_of
from schemas.plans import MEMBERS

Object = dict[str, Any]

COMPANY_ROW: Final = ("id", "name", "plan", "overrides", "createdAt")
COMPANY: Final = ("id", "name", "plan", "limits", "overrides", "createdAt")
WORKSPACE: Final = ("id", "name", "kind", "archivedAt", "createdAt")
PROJECT: Final = ("id", "workspaceId", "name", "createdAt")
KEY: Final = ("id", "prefix", "scope", "workspaceId", "name", "status", "createdAt", "expiresAt", "lastUsedAt", "ipAllowlist")


def companies(registry: Registry, search: str | None, limit: int) -> list[Object]:
    """The region's newest companies: whose name has that in it, or whose id it is."""
    pattern = None if search is None else f"%{_escaped(search.lower())}%"
    rows = registry.run("companies", pattern, search and search.lower(), limit)
    return [_object(COMPANY_ROW, row) | {"region": registry.region.value} for row in rows]


def company(registry: Registry, id: UUID) -> Object:
    """A company that is there, and what it may."""
    (row,) = registry.run("company", id)
    found = _object(COMPANY, row) | {"region": registry.region.value}
    return found | {"limits": limits(found["limits"])}


def workspaces(registry: Registry, company: UUID) -> list[Object]:
    """A company's workspaces, in the order in which they were made."""
    return [_object(WORKSPACE, row) for row in registry.run("workspaces", company, None)]


def workspace(registry: Registry, company: UUID, id: UUID) -> Object:
    """A workspace that is there."""
    (row,) = registry.run("workspaces", company, id)
    return _object(WORKSPACE, row)


def projects(registry: Registry, company: UUID, workspace: UUID | None = None) -> list[Object]:
    """A company's projects, or those of one workspace."""
    return [_object(PROJECT, row) for row in registry.run("projects", company, workspace)]


def project(registry: Registry, workspace: UUID, id: UUID) -> Object:
    """A project that is there."""
    (row,) = registry.run("project", workspace, id)
    return _object(PROJECT, row)


def keys(registry: Registry, company: UUID, workspace: UUID | None = None) -> list[Object]:
    """A company's keys, or those of one workspace."""
    return [_object(KEY, row) for row in registry.run("keys", company, workspace, None)]


def key(registry: Registry, company: UUID, id: UUID) -> Object:
    """A key that is there."""
    (row,) = registry.run("keys", company, None, id)
    return _object(KEY, row)


def new_key(registry: Registry, company: UUID, made: Key) -> Object:
    """A key that was just made, with its text."""
    return key(registry, company, made.id) | {"key": made.text}


def limits(members: Object) -> Object:
    """What a plan allows, in one order."""
    return {name: members[name] for name in MEMBERS}


def _object(names: Sequence[str], row: Sequence[Any]) -> Object:
    return {name: _value(value) for name, value in zip(names, row, strict=True)}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_of(value)
    return str(value) if isinstance(value, UUID) else value


def _escaped(text: str) -> str:
    r"""The text as LIKE finds it and nothing else: ``%`` and ``_`` stand for anything there."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
