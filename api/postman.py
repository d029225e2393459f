"""The Postman collection (format v2.1) of the OpenAPI document: a folder a tag, in an order that runs from top to bottom. Streams, which
have no end, are left out.

``python -m api.postman > ops/docs/hyrelog.postman_collection.json`` writes it anew.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from api import story
from api.app import create_app
from api.document import build, operations_of
from ops.dashboard_door import PREFIX
from ops.settings import Settings
from schemas.openapi import COMPANY_KEY, DASHBOARD_TOKEN, INTERNAL_TOKEN, WORKSPACE_KEY, Json

_FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_GIVEN = {
    "workspaceKey": "A workspace's API key.",
    "companyKey": "Its company's API key; to manage, one that is bound to addresses.",
    "internalToken": "INTERNAL_TOKEN, for the operator's routes.",
    "dashboardToken": "DASHBOARD_SERVICE_TOKEN; for the folder “admin” DASHBOARD_ADMIN_TOKEN, where there is one.",
    "companyId": "The company that the dashboard's requests are about.",
    "workspaceId": "The workspace of the key.",
    "projectId": "A project of that workspace.",
}
_OF_EXAMPLES = {
    story.COMPANY: "{{companyId}}",
    story.WORKSPACE: "{{workspaceId}}",
    story.PROJECT: "{{projectId}}",
    story.ARCHIVE: "{{archiveId}}",
}
_SENT = {"Prefer"}
"""Parameters that are sent as they stand in their example, as those are that must be; all others are there to be ticked."""
_LAST = ("/revoke",)
"""What ends that which a path names, as DELETE does."""
_ANEW = ("/reject", "/approve")
"""What is done to that which waits for it: so it is made anew before."""
_CHOSEN = {"/dashboard/archives": "isColdArchived"}
"""Lists of what no request makes: the first one that is so gives its id."""
_SINGULAR = {"companies": "company"}
_MADE = ("200", "201", "202")


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation, the variables that its path takes, and the one that its answer gives."""

    path: str
    method: str
    entry: Json

    @property
    def ends(self) -> bool:
        """Whether the answer has an end: Postman's runner waits for it."""
        return "text/event-stream" not in self.entry["responses"].get("200", {}).get("content", {})

    @property
    def takes(self) -> set[str]:
        """``workspaceId`` for ``/v1/workspaces/{id}``, and for a body that names one."""
        of_body = re.findall(r"{{(\w+)}}", _text(self.entry["requestBody"])) if "requestBody" in self.entry else []
        return {_variable(self.path, step) for step in self.path.split("/") if step.startswith("{")} | set(of_body)

    @property
    def gives(self) -> str | None:
        """``keyId`` for a POST to ``…/keys``: what is made is answered with its id."""
        makes = self.method == "post" and self.path.endswith("s")
        return _named(self.path) if makes or (self.method == "get" and self.path in _CHOSEN) else None

    @property
    def ends_it(self) -> bool:
        """Whether what the path names is of no use behind it."""
        return self.method == "delete" or self.path.endswith(_LAST)

    @property
    def id_member(self) -> str:
        """What the answer calls the id of what was made."""
        return "jobId" if self.path.endswith("/exports") else "id"


def collection(document: Json) -> Json:
    """The collection of an OpenAPI document that has examples throughout."""
    operations = [each for each in (_Operation(*found) for found in operations_of(document)) if each.ends]
    makers = {each.gives: each for each in operations if each.gives}
    folders = [
        {
            "name": tag["name"],
            "description": tag["description"],
            "item": [_item(each, makers) for each in _in_order(operations, tag["name"])],
        }
        for tag in document["tags"]
    ]
    return {
        "info": {"name": document["info"]["title"], "description": document["info"]["description"], "schema": _FORMAT},
        "variable": [{"key": name, "value": value, "description": text} for name, value, text in _variables(document, operations)],
        "item": folders,
    }


def _variables(document: Json, operations: list[_Operation]) -> Iterator[tuple[str, str, str]]:
    """Name, value and description."""
    (server,) = document["servers"]
    yield "baseUrl", server["variables"]["baseUrl"]["default"], server["description"]
    for name, text in _GIVEN.items():
        yield name, "", text
    for name in dict.fromkeys(each.gives for each in operations if each.gives):
        makers = (f"“{each.entry['summary']}”" for each in operations if each.gives == name)
        yield name, "", f"Set by {' and '.join(makers)}."
    for each in operations:
        if each.path.endswith("{fingerprint}"):
            yield "fingerprint", each.entry["parameters"][0]["example"], each.entry["parameters"][0]["description"]


def _in_order(operations: list[_Operation], tag: str) -> Iterator[_Operation]:
    """Those of a tag: what gives a variable comes before what takes it, and what ends that comes last."""
    waiting = [each for each in operations if tag in each.entry["tags"]]
    while waiting:
        yet_to_come = {each.gives for each in waiting}
        ready = next(
            each
            for each in sorted(waiting, key=lambda one: (one.ends_it, one.gives is None))
            if not each.takes & yet_to_come - {each.gives}
        )
        waiting.remove(ready)
        yield ready


def _item(operation: _Operation, makers: Mapping[str, _Operation]) -> Json:
    entry = operation.entry
    request = _request(operation)
    before = [_event("prerequest", _anew(makers[name])) for name in operation.takes if operation.path.endswith(_ANEW)]
    return {
        "name": entry["summary"],
        "event": [*before, _event("test", _script(operation))],
        "request": request,
        "response": [_saved(status, entry["responses"][status], request) for status in _MADE if status in entry["responses"]],
    }


def _event(moment: str, lines: list[str]) -> Json:
    return {"listen": moment, "script": {"type": "text/javascript", "exec": lines}}


def _request(operation: _Operation) -> Json:
    entry = operation.entry
    parameters = entry.get("parameters", ())
    headers = [_parameter(each) for each in parameters if each["in"] == "header"]
    request = {
        "method": operation.method.upper(),
        "description": entry["description"],
        "auth": _auth(entry.get("security", [])),
        "header": headers,
        "url": _url(operation.path, [_parameter(each) for each in parameters if each["in"] == "query"]),
    }
    if "requestBody" in entry:
        headers.append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {"mode": "raw", "raw": _text(entry["requestBody"]), "options": {"raw": {"language": "json"}}}
    return request


def _url(path: str, query: list[Json]) -> Json:
    steps = [f"{{{{{_variable(path, step)}}}}}" if step.startswith("{") else step for step in path.strip("/").split("/")]
    sent = "&".join(f"{each['key']}={each['value']}" for each in query if not each["disabled"])
    return {"raw": "{{baseUrl}}/" + "/".join(steps) + (f"?{sent}" if sent else ""), "host": ["{{baseUrl}}"], "path": steps, "query": query}


def _parameter(parameter: Json) -> Json:
    name, value = parameter["name"], str(parameter["example"])
    disabled = not (parameter.get("required") or name in _SENT)
    return {"key": name, "value": _OF_EXAMPLES.get(value, value), "description": parameter["description"], "disabled": disabled}


def _variable(path: str, step: str) -> str:
    """The collection's name of what stands in a path: ``id`` says too little."""
    name = step.strip("{}")
    return _named(path.partition(f"/{step}")[0]) if name == "id" else name


def _named(path: str) -> str:
    """What an id of those under a path is called. What the dashboard makes never takes the place of what the collection was given."""
    nouns = path.rpartition("/")[2]
    name = f"{_SINGULAR.get(nouns, nouns.removesuffix('s'))}Id"
    if name in _GIVEN and path.startswith(PREFIX):
        name = f"new-{name}"
    return re.sub("-(.)", lambda found: found[1].upper(), name)


def _auth(ways: list[Json]) -> Json:
    for way, name, variable in (
        (INTERNAL_TOKEN, "x-internal-token", "internalToken"),
        (DASHBOARD_TOKEN, "x-dashboard-token", "dashboardToken"),
    ):
        if way in ways:
            return {"type": "apikey", "apikey": _pairs(key=name, value=f"{{{{{variable}}}}}", **{"in": "header"})}
    for way, variable in ((WORKSPACE_KEY, "workspaceKey"), (COMPANY_KEY, "companyKey")):
        if way in ways:
            return {"type": "bearer", "bearer": _pairs(token=f"{{{{{variable}}}}}")}
    return {"type": "noauth"}


def _pairs(**values: str) -> list[Json]:
    return [{"key": name, "value": value, "type": "string"} for name, value in values.items()]


def _text(body: Json) -> str:
    """The body's example as it is sent, with what a workspace has of its own as variables."""
    content: Json = body["content"]["application/json"]
    text = orjson.dumps(content["example"], option=orjson.OPT_INDENT_2).decode()
    for example, variable in _OF_EXAMPLES.items():
        text = text.replace(example, variable)
    return text


def _script(operation: _Operation) -> list[str]:
    statuses = ", ".join(operation.entry["responses"])
    lines = [
        f'pm.test("the status is a documented one", () => pm.expect(pm.response.code).to.be.oneOf([{statuses}]));',
        'pm.test("the answer has a trace id", () => pm.expect(pm.response.headers.get("X-Trace-Id")).to.match(/^[0-9a-f]{32}$/));',
    ]
    if operation.gives:
        made = f".data.find((each) => each.{_CHOSEN[operation.path]})?" if operation.path in _CHOSEN else ""
        lines.append(
            f'if (pm.response.code < 300) pm.collectionVariables.set("{operation.gives}", pm.response.json(){made}.{operation.id_member});'
        )
    return lines


def _anew(maker: _Operation) -> list[str]:
    """Make another one of what a request takes; if that is refused, the one that there is must do."""
    request = _request(maker)
    token = {each["key"]: each["value"] for each in request["auth"]["apikey"]}
    headers = {each["key"]: each["value"] for each in request["header"]} | {token["key"]: token["value"]}
    sent = {"url": request["url"]["raw"], "method": request["method"], "header": headers, "body": request["body"]}
    return [
        f"const wish = {orjson.dumps(sent).decode()};",
        "pm.sendRequest(JSON.parse(pm.variables.replaceIn(JSON.stringify(wish))), (error, response) => {",
        f'  if (!error && response.code < 300) pm.collectionVariables.set("{maker.gives}", response.json().{maker.id_member});',
        "});",
    ]


def _saved(status: str, answer: Json, request: Json) -> Json:
    """An answer to look at without asking."""
    kind, content = next(iter(answer["content"].items()))
    value = content.get("example", next((each["value"] for each in content.get("examples", {}).values()), None))
    return {
        "name": answer["description"],
        "originalRequest": request,
        "status": {"200": "OK", "201": "Created", "202": "Accepted"}[status],
        "code": int(status),
        "header": [{"key": "Content-Type", "value": kind}],
        "body": value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(),
    }


def main() -> None:
    """Print the collection."""
    names = ("api_key_secret", "internal_token", "cursor_secret", "idempotency_secret", "webhook_secret_encryption_key", "archive_key")
    settings = Settings.model_validate({name: secrets.token_hex(32) for name in names})  # of an app that is never started
    sys.stdout.buffer.write(text(build(create_app(settings))))


def text(document: Json) -> bytes:
    """The collection as it is written to a file."""
    return orjson.dumps(collection(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    main()
