"""The documentation page: the OpenAPI document as plain HTML, so that it reads offline and under the strictest policy."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

import orjson

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff }
h1, h2, h3 { line-height: 1.2 } h3 { margin-top: 2.5rem; border-top: 1px solid #d0d7de; padding-top: 1rem }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px } code { padding: .1em .3em }
pre { padding: .8rem; overflow-x: auto } table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #e4e8ec }
nav ul { columns: 2; list-style: none; padding: 0 } .method { color: #0550ae; font-weight: 600 }
summary { cursor: pointer; color: #57606a } td:last-child code { white-space: nowrap }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3 } code, pre { background: #161b22 }
a, .method { color: #79c0ff } h3, th, td { border-color: #30363d } }
"""
POLICY = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501 - one header value
"""The page's Content-Security-Policy: its own style, and nothing else."""

Json = dict[str, Any]


def render(document: Json) -> str:
    """The page of an OpenAPI document."""
    operations = [(method, path, operation) for path, methods in document["paths"].items() for method, operation in sorted(methods.items())]
    index = "".join(f'<li><a href="#{_anchor(method, path)}">{_title(method, path)}</a></li>' for method, path, _ in operations)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(document['info']['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(document['info']['title'])} API {escape(document['info']['version'])}</h1>"
        f"{_prose(document['info']['description'])}"
        f'<p>The machine-readable form: <a href="/openapi.json">openapi.json</a></p><nav><ul>{index}</ul></nav>'
        f"{''.join(_operation(*entry) for entry in operations)}<h2>Keys</h2>"
        f"{''.join(_scheme(name, scheme) for name, scheme in document['components'].get('securitySchemes', {}).items())}<h2>Shapes</h2>"
        f"{''.join(_shape(name, shape) for name, shape in sorted(document['components']['schemas'].items()))}</body></html>"
    )


def _operation(method: str, path: str, operation: Json) -> str:
    keys = " or ".join(f"<code>{escape(name)}</code>" for way in operation.get("security", ()) for name in way)
    return (
        f'<h3 id="{_anchor(method, path)}">{_title(method, path)}</h3><p><strong>{escape(operation.get("summary", ""))}</strong></p>'
        f"<p>Needs {keys or 'no key'}.</p>{_prose(operation.get('description', ''))}{_parameters(operation.get('parameters', []))}"
        f"{_body(operation.get('requestBody'))}{_answers(operation['responses'])}"
    )


def _scheme(name: str, scheme: Json) -> str:
    return f"<p><code>{escape(name)}</code>: {_text(scheme['description'])}</p>"


def _parameters(parameters: list[Json]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}{', required' if one.get('required') else ''}</td>"
        f"<td>{_type(one['schema'])}</td><td>{_text(one.get('description', ''))}{_such_as(one)}</td></tr>"
        for one in parameters
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>{rows}</table>" if rows else ""


def _body(body: Json | None) -> str:
    if body is None:
        return ""
    kinds = "".join(
        f"<li><code>{escape(kind)}</code>: {_whole(content['schema'])}{_examples(content)}</li>"
        for kind, content in body["content"].items()
    )
    return f"<p>Body:</p><ul>{kinds}</ul>"


def _whole(schema: Json) -> str:
    """A type, with the members of an object that has no name of its own."""
    return _type(schema) + (_json(schema) if "properties" in schema else "")


def _answers(answers: Json) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_text(answer['description'])}{_all_examples(answer)}</td><td>{_content(answer)}</td></tr>"
        for status, answer in sorted(answers.items())
    )
    return f"<table><tr><th>Status</th><th></th><th>Shape</th></tr>{rows}</table>"


def _content(answer: Json) -> str:
    return ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values())


def _all_examples(answer: Json) -> str:
    return "".join(_examples(content) for content in answer.get("content", {}).values())


def _examples(content: Json) -> str:
    """What may be sent or answered, folded away."""
    named = content.get("examples", {"": {"value": content["example"]}} if "example" in content else {})
    return "".join(
        f"<details><summary>Example{f': {escape(name)}' if name else ''}</summary>{_sample(one['value'])}</details>"
        for name, one in named.items()
    )


def _sample(value: object) -> str:
    return f"<pre>{escape(value)}</pre>" if isinstance(value, str) else _json(value)


def _such_as(parameter: Json) -> str:
    return f" Such as <code>{escape(str(parameter['example']))}</code>." if "example" in parameter else ""


def _shape(name: str, shape: Json) -> str:
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{_prose(shape.get("description", ""))}{_json(shape)}'


def _json(shape: object) -> str:
    return f"<pre>{escape(orjson.dumps(shape, option=orjson.OPT_INDENT_2).decode())}</pre>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return escape(" ".join(str(schema[key]) for key in ("type", "format") if key in schema))


def _title(method: str, path: str) -> str:
    return f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code>'


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))


def _prose(text: str) -> str:
    return "".join(f"<p>{_text(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _text(text: str) -> str:
    """Escaped, with `code` between backticks."""
    return "".join(f"<code>{part}</code>" if odd else part for odd, part in zip([0, 1] * len(text), escape(text).split("`"), strict=False))
