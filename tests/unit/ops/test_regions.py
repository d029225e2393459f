"""Asking all regions: one that is away keeps nobody from the answers of the others, and a bug is no outage."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import typer

from ops.db import WrongRegion
from ops.regions import find_in, from_each
from schemas.topics import REGIONS, Region

AWAY = [psycopg.OperationalError("refused\nhint"), WrongRegion("another's"), ConnectionRefusedError("refused")]


def _ask_but(error: Exception) -> Callable[[Region], list[str]]:
    def ask(region: Region) -> list[str]:
        if region is Region.EU:
            raise error
        return [f"of {region}"] if region is not Region.UK else []

    return ask


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_what_the_others_have_is_there(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    found, is_whole = from_each(REGIONS, _ask_but(error))
    assert found == [(Region.US, "of US"), (Region.AU, "of AU")]
    assert not is_whole
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("EU: can't tell: ")


def test_a_bug_is_no_outage() -> None:
    with pytest.raises(KeyError):
        from_each(REGIONS, _ask_but(KeyError("x")))


def test_what_one_region_has_is_found_while_another_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_in((Region.EU, Region.AU), _ask_but(AWAY[0]), "key 1") == (Region.AU, "of AU")
    assert "EU: can't tell" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("regions", "said"),
    [((Region.EU, Region.UK), "hyrelog: there is no key 1 in UK"), ((Region.EU,), "hyrelog: no region could be asked")],
)
def test_what_is_nowhere_is_told_of_those_that_answered(regions: tuple[Region, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        find_in(regions, _ask_but(AWAY[0]), "key 1")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.splitlines()[-1] == said
