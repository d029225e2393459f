"""``hyrelog key``: API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from ops.addresses import network
from ops.output import AsJson, echo_json, listing
from ops.tenancy import shown
from ops.tenancy.holding import NewName, Where, holding
from ops.tenancy.terms import KeyTerms, Kind

MAX_OVERLAP_SECONDS = 86_400

Allow = Annotated[list[str] | None, typer.Option("--allow", help="Address or CIDR it may be used from; may be given more than once.")]


def key_list(
    company: UUID,
    workspace: Annotated[UUID | None, typer.Option(help="Only this workspace's.")] = None,
    region: Where = None,
    as_json: AsJson = False,
) -> None:
    """List a company's keys, those too that are no longer good."""
    with holding(Kind.COMPANY, company, region) as registry:
        rows = shown.keys(registry, company, workspace)
    listing(rows, ("id", "prefix", "name", "scope", "status", "workspaceId", "expiresAt", "lastUsedAt", "ipAllowlist"), as_json=as_json)


def key_create(
    company: UUID,
    name: NewName,
    workspace: Annotated[UUID | None, typer.Option(help="The workspace that it is for; without it, it is the company's.")] = None,
    allow: Allow = None,
    expires: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Until when it is good.")] = None,
    region: Where = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, which is shown this once."""
    with holding(Kind.COMPANY, company, region) as registry:
        key = registry.add_key(company, workspace, KeyTerms(name, _networks(allow), expires))
        made = shown.new_key(registry, company, key)
    _tell(made, as_json=as_json)


def key_rotate(
    id: UUID,
    overlap: Annotated[
        int, typer.Option(help="Seconds that the old key stays good beside the new one.", min=0, max=MAX_OVERLAP_SECONDS)
    ] = 3600,
    region: Where = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one of the same scope, allowlist and expiry, which is shown this once."""
    with holding(Kind.KEY, id, region) as registry:
        company, key = registry.rotate_key(id, overlap)
        made = shown.new_key(registry, company, key) | {"previous": shown.key(registry, company, id)}
    _tell(made, as_json=as_json)


def key_allow(
    id: UUID,
    networks: Annotated[list[str] | None, typer.Argument(help="Addresses and CIDR; none: it may be used from anywhere.")] = None,
    region: Where = None,
) -> None:
    """Replace the addresses that a key may be used from."""
    with holding(Kind.KEY, id, region) as registry:
        registry.set_allowlist(id, _networks(networks))


def key_revoke(id: UUID, region: Where = None) -> None:
    """Revoke a key: within ten seconds nobody gets in with it."""
    with holding(Kind.KEY, id, region) as registry:
        registry.revoke_key(id)


def _tell(made: shown.Object, *, as_json: bool) -> None:
    if as_json:
        echo_json(made)
    else:
        typer.echo(f"{made['id']}\n{made['key']}")


def _networks(texts: Sequence[str] | None) -> list[str]:
    return [str(network(text)) for text in texts or ()]
