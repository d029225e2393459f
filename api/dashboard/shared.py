"""Routes of /v1 as the dashboard has them: the same functions, bodies and answers, for a company's people instead of its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from fastapi.routing import APIRoute

from api import events, keys, rejections, usage, workspaces
from api.dashboard.route import CompanyActing, CompanyReading, DashboardRoute
from api.exports import routes as exports
from api.webhooks import reading as webhooks
from api.webhooks import routes as webhook_changes


class Shared(NamedTuple):
    """A route of /v1 under the dashboard's path."""

    path: str
    endpoint: Callable[..., Any]
    action: str
    """What the audit calls it."""
    kind: type[DashboardRoute]


def _read(path: str, endpoint: Callable[..., Any], action: str) -> Shared:
    return Shared(path, endpoint, action, CompanyReading)


def _act(path: str, endpoint: Callable[..., Any], action: str) -> Shared:
    return Shared(path, endpoint, action, CompanyActing)


SHARED: Final = (
    _read("/usage", usage.get_usage, "usage.read"),
    _read("/events", events.list_events, "event.list"),
    _read("/events/{id}", events.get_event, "event.read"),
    _read("/rejections", rejections.list_rejections, "rejection.list"),
    _read("/workspaces", workspaces.list_workspaces, "workspace.list"),
    _read("/workspaces/{id}/projects", workspaces.list_projects, "project.list"),
    _read("/workspaces/{id}/chain", workspaces.get_chain, "chain.read"),
    _act("/keys/{id}/rotate", keys.rotate_key, "key.rotate"),
    _read("/webhooks/{id}", webhooks.get_webhook, "webhook.read"),
    _read("/webhooks/{id}/deliveries", webhooks.list_deliveries, "delivery.list"),
    _act("/webhooks/{id}", webhook_changes.change_webhook, "webhook.update"),
    _act("/webhooks/{id}", webhook_changes.delete_webhook, "webhook.delete"),
    _act("/webhooks/{id}/disable", webhook_changes.disable_webhook, "webhook.disable"),
    _act("/webhooks/{id}/enable", webhook_changes.enable_webhook, "webhook.enable"),
    _act("/webhooks/{id}/rotate-secret", webhook_changes.rotate_webhook_secret, "webhook.rotate-secret"),
    _act("/webhooks/{id}/test", webhook_changes.test_webhook, "webhook.test"),
    _act("/webhooks/{id}/replay", webhook_changes.replay_webhook, "webhook.replay"),
    _act("/exports", exports.create_export, "export.create"),
    _act("/exports/{id}/download", exports.download_export, "export.download"),
    _act("/exports/{id}/cancel", exports.cancel_export, "export.cancel"),
    _read("/exports", exports.list_exports, "export.list"),
    _read("/exports/{id}", exports.get_export, "export.read"),
    _read("/exports/{id}/manifest", exports.get_manifest, "export.manifest"),
)
_PREFIX: Final = "/dashboard"
_ORIGINALS: Final = (
    events.router,
    workspaces.router,
    usage.router,
    rejections.router,
    keys.managed_router,
    webhooks.router,
    webhook_changes.router,
    exports.router,
    exports.reading_router,
)


def router() -> APIRouter:
    """All of them."""
    made = APIRouter(prefix=_PREFIX, tags=["dashboard"])
    originals = dict(_originals())
    for each in SHARED:
        original = originals[each.endpoint]
        methods = sorted(original.methods or ())
        made.add_api_route(
            each.path,
            each.endpoint,
            methods=methods,
            name=each.action,
            summary=f"{original.summary} (dashboard)",
            description=f"As `{methods[0]} {original.path}` with a company key.",
            status_code=original.status_code,
            dependencies=original.dependencies,
            response_class=original.response_class,
            responses=original.responses,
            openapi_extra=original.openapi_extra,
            route_class_override=each.kind,
        )
    return made


def originals() -> dict[str, str]:
    """Of each of them, ``get /dashboard/events``, which one of /v1 it is: ``get /v1/events``."""
    found = dict(_originals())
    return {
        f"{method.lower()} {_PREFIX}{each.path}": f"{method.lower()} {found[each.endpoint].path}"
        for each in SHARED
        for method in found[each.endpoint].methods or ()
    }


def _originals() -> Iterator[tuple[Callable[..., Any], APIRoute]]:
    for original in _ORIGINALS:
        for route in original.routes:
            if isinstance(route, APIRoute):
                yield route.endpoint, route
