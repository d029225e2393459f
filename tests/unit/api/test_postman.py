"""The Postman collection: the one that the document gives, whole, and in an order that can run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.document import operations_of
from api.postman import collection, text
from ops.local.envfile import postman_environment
from tests.support.documents import document

FILE = Path(__file__).parents[3] / "ops" / "docs" / "hyrelog.postman_collection.json"
OF_DEMO = {f"HYRELOG_{name}": name for name in ("URL", "WORKSPACE_KEY", "COMPANY_KEY", "INTERNAL_TOKEN", "WORKSPACE_ID", "PROJECT_ID")}


@pytest.fixture
def made() -> dict[str, Any]:
    return collection(document())


def requests(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for folder in made["item"] for item in folder["item"]]


def test_the_file_is_the_one_that_the_document_gives() -> None:
    """If not: ``python -m api.postman > ops/docs/hyrelog.postman_collection.json``."""
    assert FILE.read_bytes() == text(document())


def test_every_operation_is_in_it_once(made: dict[str, Any]) -> None:
    """But for the tail, which has no end."""
    summaries = [operation["summary"] for path, _, operation in operations_of(document()) if path != "/v1/events/tail"]
    assert sorted(item["name"] for item in requests(made)) == sorted(summaries)


def test_every_variable_is_there_before_it_is_used(made: dict[str, Any]) -> None:
    environment = orjson.loads(postman_environment(OF_DEMO))
    known = {each["key"] for each in environment["values"]} | {"fingerprint"}
    assert known <= {each["key"] for each in made["variable"]}
    for item in requests(made):
        assert set(re.findall(r"{{(\w+)}}", orjson.dumps(item["request"]).decode())) <= known, item["name"]
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', "".join(item["event"][0]["script"]["exec"])))


def test_bodies_are_json_and_keys_are_variables(made: dict[str, Any]) -> None:
    for item in requests(made):
        if "body" in item["request"]:
            orjson.loads(item["request"]["body"]["raw"])
        auth = item["request"]["auth"]
        assert auth["type"] == "noauth" or "{{" in orjson.dumps(auth).decode()
