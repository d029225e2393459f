"""The first company: made once, with keys that work and are stored nowhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ops.local.environment import Role, ambient_environ, service_environ
from ops.seed import SeedSettings, seed
from schemas.keys import hash_key, parse_key
from schemas.topics import Region
from tests.support.stack import LocalStack, create_tenant


def _keys(servers: LocalStack, region: Region, company: object) -> dict[bytes, object]:
    with psycopg.connect(servers.superuser_url(region)) as connection:
        return dict(connection.execute("SELECT key_hash, workspace_id FROM api_key WHERE company_id = %s", (company,)).fetchall())


def test_several_seeds_make_one_company(servers: LocalStack) -> None:
    admin, choice = servers.settings(Role.ADMIN), SeedSettings(seed_region=Region.AU)
    with ThreadPoolExecutor(4) as pool:
        tenants = list(pool.map(lambda _: seed(admin, choice), range(4)))
    assert len({tenant.id for tenant in tenants}) == 1
    assert len({tenant.workspaces[0].id for tenant in tenants}) == 1


def test_keys_are_shown_once(servers: LocalStack) -> None:
    admin, choice = servers.settings(Role.ADMIN), SeedSettings(seed_region=Region.EU)
    first, again = seed(admin, choice), seed(admin, choice)
    assert first.key is not None
    assert first.workspaces[0].key is not None
    assert (again.key, again.workspaces[0].key) == (None, None)


def test_only_a_keyed_hash_of_each_key_is_stored(servers: LocalStack) -> None:
    tenant = create_tenant(servers.settings(Role.ADMIN), Region.EU, "Hashed", workspaces=2)
    secret = servers.settings(Role.ADMIN).api_key_secret.get_secret_value().encode()
    first, second = tenant.workspaces
    expected = {hash_key(secret, key or ""): of for key, of in ((tenant.key, None), (first.key, first.id), (second.key, second.id))}
    assert _keys(servers, Region.EU, tenant.id) == expected


def test_a_key_names_its_region_and_scope(servers: LocalStack) -> None:
    tenant = servers.tenant(Region.EU)
    names = [parse_key(key or "") for key in (tenant.key, tenant.workspaces[0].key)]
    assert [(name.region, name.scope) for name in names] == [(Region.EU, "co"), (Region.EU, "ws")]


@pytest.mark.parametrize("plan", ["FREE", "ENTERPRISE"])
def test_the_plan_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    monkeypatch.setenv("SEED_PLAN_TIER", plan)
    monkeypatch.setenv("SEED_REGION", "EU")
    assert SeedSettings().model_dump() == {"seed_region": Region.EU, "seed_plan_tier": plan}


def test_a_command_takes_its_settings_from_the_environment_or_the_local_stack(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYRELOG_STATE", str(servers.state.root))
    assert ambient_environ(Role.AUDITOR) == service_environ(servers.state, Role.AUDITOR)
    monkeypatch.setenv("DATABASE_URL_EU", "postgresql://elsewhere/hyrelog")
    assert ambient_environ(Role.AUDITOR)["DATABASE_URL_EU"] == "postgresql://elsewhere/hyrelog"
    assert "DATABASE_URL_US" not in ambient_environ(Role.AUDITOR)
