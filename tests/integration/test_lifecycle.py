"""`hyrelog lifecycle` on moto's server, which has lifecycle rules, and on the local store, which has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import cli, lifecycle
from ops.lifecycle import State, look
from ops.local.environment import Role
from ops.objects import client
from ops.settings import Settings
from schemas.topics import Region
from tests.support.managing import Database, operator, told
from tests.support.objects import moto_settings
from tests.support.stack import LocalStack

REGION = Region.US


@pytest.fixture
def moto(servers: LocalStack) -> Iterator[Settings]:
    """A store without rules, and a company whose archives go cold."""
    servers.tenant(plan="GROWTH")
    servers.tenant(plan="ENTERPRISE")
    with moto_settings(servers.settings(Role.SCHEDULER)) as settings:
        yield settings


def bucket_rules(settings: Settings) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = client(settings).get_bucket_lifecycle_configuration(Bucket=settings.bucket(REGION))["Rules"]
    return rules


def put_rules(settings: Settings, *rules: dict[str, Any]) -> None:
    client(settings).put_bucket_lifecycle_configuration(Bucket=settings.bucket(REGION), LifecycleConfiguration={"Rules": list(rules)})


async def states(settings: Settings, *, apply: bool = False) -> dict[str, State]:
    return {standing.name: standing.state for standing in await look(settings, REGION, apply=apply)}


async def test_what_is_missing_is_told_and_set_on_demand(moto: Settings) -> None:
    before = await states(moto)
    assert {"hyrelog-cold-180", "hyrelog-cold-365", "hyrelog-uploads"} <= set(before)
    assert set(before.values()) == {State.MISSING}
    assert set((await states(moto, apply=True)).values()) == {State.AS_WANTED}
    assert set((await states(moto)).values()) == {State.AS_WANTED}


async def test_archives_go_cold_by_their_tag_and_uploads_end(moto: Settings) -> None:
    await states(moto, apply=True)
    by_name = {rule["ID"]: rule for rule in bucket_rules(moto)}
    cold, uploads = by_name["hyrelog-cold-180"], by_name["hyrelog-uploads"]
    assert cold["Filter"]["And"]["Tags"] == [{"Key": "hyrelog-cold-after", "Value": "180"}]
    assert cold["Filter"]["And"]["Prefix"] == "archives/"
    assert cold["Transitions"] == [{"Days": 180, "StorageClass": "GLACIER"}]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert {cold["Status"], uploads["Status"]} == {"Enabled"}


async def test_rules_of_others_are_left_alone(moto: Settings) -> None:
    theirs = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
    put_rules(moto, theirs)
    await states(moto, apply=True)
    found = bucket_rules(moto)
    assert found[0] == theirs
    assert len(found) == 1 + len(await states(moto))


async def test_a_rule_that_was_changed_is_told_and_mended(moto: Settings) -> None:
    """Somebody who turns one off, or lets it move objects sooner, is found."""
    await states(moto, apply=True)
    changed = bucket_rules(moto)
    changed[0]["Status"] = "Disabled"
    changed[1]["Transitions"][0]["Days"] = 30
    put_rules(moto, *changed)
    assert {name for name, state in (await states(moto)).items() if state is State.OTHER} == {changed[0]["ID"], changed[1]["ID"]}
    assert set((await states(moto, apply=True)).values()) == {State.AS_WANTED}


async def test_a_rule_that_no_plan_needs_is_told_and_taken_away(moto: Settings) -> None:
    put_rules(moto, lifecycle.rules([9999])[0])
    assert (await states(moto))["hyrelog-cold-9999"] is State.LEFT_OVER
    assert "hyrelog-cold-9999" not in await states(moto, apply=True)


async def test_setting_them_is_told_to_the_operator_once(moto: Settings, superuser: Database) -> None:
    company = await operator(superuser)
    before = len(await told(superuser, company))
    await states(moto, apply=True)
    await states(moto, apply=True)
    (entry,) = (await told(superuser, company))[before:]
    assert (entry.action, entry.target) == ("lifecycle.apply", {"id": moto.bucket(REGION), "type": "bucket"})


def test_the_command_says_yes_or_no(moto: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "settings_of", lambda _kind, _environ: moto)
    run = [CliRunner().invoke(cli.build(), ["lifecycle", "--region", "us", *more]) for more in ([], ["--apply"], [])]
    assert [result.exit_code for result in run] == [1, 0, 0]
    assert "US: hyrelog-cold-180 (to GLACIER after 180 days) is missing" in run[0].stdout
    assert "US: hyrelog-uploads (unfinished uploads end after 7 days) is as it should be" in run[2].stdout


def test_a_store_without_rules_is_told_in_a_line(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "settings_of", lambda _kind, _environ: servers.settings(Role.SCHEDULER))
    result = CliRunner().invoke(cli.build(), ["lifecycle", "--apply"])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{region}: the object store has no lifecycle rules; archives stay in the class that they were written in." for region in Region
    ]
