"""The OpenAPI document as HTML that needs no script: operations, schemas and errors."""

from __future__ import annotations

import json
from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING, Any

from api.docs_examples import example_of, resolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} fields",
    "maxProperties": "at most {} fields",
    "pattern": "matches {}",
    "default": "default {}",
}
_JSON = "application/json"


def body(document: Mapping[str, Any]) -> str:
    """Return the content of the page's body element."""
    info = document["info"]
    by_tag: defaultdict[str, list[str]] = defaultdict(list)
    links: defaultdict[str, list[str]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation["tags"][0]
            by_tag[tag].append(_operation(document, method, path, operation))
            name = escape(operation["operationId"])
            links[tag].append(f'<li><a href="#{name}">{escape(operation["summary"])}</a></li>')
    menu = "".join(
        f"<li>{escape(tag['name'])}<ul>{''.join(links[tag['name']])}</ul></li>"
        for tag in document["tags"]
    )
    tags = "".join(
        f'<section aria-labelledby="{_tag_id(tag)}"><h2 id="{_tag_id(tag)}">'
        f"{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        f"{''.join(by_tag[tag['name']])}</section>"
        for tag in document["tags"]
    )
    return (
        '<a class="skip" href="#operations">Skip to the operations</a>'
        f"<header><h1>{escape(info['title'])}</h1><p>OpenAPI 3.1, version "
        f'{escape(info["version"])}. <a href="/api/v1/openapi.json">The document</a></p>'
        f"{_paragraphs(info['description'])}{_key(document)}</header>"
        f'<nav aria-label="Contents"><ul>{menu}<li><a href="#errors">Errors</a></li>'
        '<li><a href="#schemas">Schemas</a></li></ul></nav>'
        f'<main id="operations" tabindex="-1">{tags}{_errors(document)}{_schemas(document)}</main>'
    )


def _tag_id(tag: Mapping[str, str]) -> str:
    return "tag-" + escape(tag["name"].lower().replace(" ", "-"))


def _key(document: Mapping[str, Any]) -> str:
    [scheme] = document["components"]["securitySchemes"].values()
    return (
        f'<form class="key" autocomplete="off"><label for="key">API key</label>'
        '<input id="key" type="password" autocomplete="off" spellcheck="false" '
        'aria-describedby="key-hint"><p id="key-hint">Kept in this page only. '
        f"{escape(scheme['description'])}</p></form>"
    )


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> str:
    name = escape(operation["operationId"])
    scopes = [scope for one in operation["security"] for each in one.values() for scope in each]
    needs = f"Needs a key with the scope {', '.join(scopes)}." if scopes else "Needs no key."
    return (
        f'<article class="opblock" aria-labelledby="{name}"><h3 id="{name}">'
        f"{escape(operation['summary'])}</h3>"
        f'<p class="call"><b class="{method}">{method.upper()}</b> <code>{escape(path)}</code></p>'
        f"{_paragraphs(operation.get('description') or '')}<p>{escape(needs)}</p>"
        f"{_parameters(document, operation)}{_request(document, operation)}"
        f"{_responses(document, operation)}{_try(document, method, path, operation)}</article>"
    )


def _parameters(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    rows = [
        [
            f"<code>{escape(one['name'])}</code>{_required(required=one.get('required', False))}",
            escape(one["in"]),
            _type(one["schema"]),
            escape(one.get("description", "")) + _example_note(one),
        ]
        for one in (resolved(document, each) for each in operation.get("parameters", ()))
    ]
    return _table("Parameters", ("Name", "In", "Type", "Meaning"), rows)


def _example_note(parameter: Mapping[str, Any]) -> str:
    found = parameter.get("example")
    return "" if found is None else f" Example: <code>{escape(str(found))}</code>"


def _request(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get(_JSON)
    if content is None:
        return ""
    return (
        f"<h4>Body</h4><p>{_type(content['schema'])}</p>{_nested(content['schema'])}"
        f"{_code('Example', _request_example(document, operation))}"
    )


def _request_example(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Any:
    content = operation["requestBody"]["content"][_JSON]
    if "example" in content:
        return content["example"]
    for one in content.get("examples", {}).values():
        return one["value"]
    return example_of(document, content["schema"])


def _responses(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    rows, examples = [], ""
    for status, given in operation["responses"].items():
        one = resolved(document, given)
        shape = "".join(
            f"{escape(kind)}: {_type(content['schema'])} "
            for kind, content in one.get("content", {}).items()
        )
        if "$ref" in given:
            name = escape(given["$ref"].rpartition("/")[2])
            shape = f'<a href="#error-{name}">errors</a>'
        elif _JSON in one.get("content", {}):
            value = example_of(document, one["content"][_JSON]["schema"])
            examples += _code(f"Example of {status}", value)
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in one.get("headers", {}))
        rows.append([escape(status), escape(one["description"]), shape, headers])
    return _table("Responses", ("Status", "Meaning", "Body", "Headers"), rows) + examples


def _try(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    name = escape(operation["operationId"])
    fields = []
    for given in operation.get("parameters", ()):
        one = resolved(document, given)
        field = f"{name}-{escape(one['name'])}"
        needed = " required" if one["in"] == "path" else ""
        fields.append(
            f'<label for="{field}">{escape(one["name"])}</label><input id="{field}" '
            f'name="{escape(one["name"])}" data-in="{escape(one["in"])}"{needed}>'
        )
    if _JSON in operation.get("requestBody", {}).get("content", {}):
        text = json.dumps(_request_example(document, operation), indent=2, ensure_ascii=False)
        fields.append(
            f'<label for="{name}-body">Body</label><textarea id="{name}-body" data-in="body" '
            f'rows="8" spellcheck="false">{escape(text)}</textarea>'
        )
    return (
        f'<details class="try"><summary>Try it: {escape(operation["summary"])}</summary>'
        f'<form data-method="{method.upper()}" data-path="{escape(path)}">{"".join(fields)}'
        f'<button type="submit">Send</button><output aria-live="polite" tabindex="0" '
        f'aria-label="Response of {escape(operation["summary"])}" hidden></output></form></details>'
    )


def _errors(document: Mapping[str, Any]) -> str:
    made = []
    for name, one in document["components"]["responses"].items():
        examples = one["content"][_JSON]["examples"]
        rows = [
            [f"<code>{escape(code)}</code>", escape(each["value"]["error"]["message"])]
            for code, each in examples.items()
        ]
        headers = ", ".join(f"<code>{escape(header)}</code>" for header in one["headers"])
        made.append(
            f'<article id="error-{escape(name)}">'
            f"{_table(' or '.join(examples), ('Code', 'Message'), rows, 'h3')}"
            f"<p>Headers: {headers}</p></article>"
        )
    first = next(iter(document["components"]["responses"].values()))
    value = next(iter(first["content"][_JSON]["examples"].values()))["value"]
    headers = _table(
        "Headers of responses",
        ("Name", "Type", "Meaning"),
        [
            [f"<code>{escape(name)}</code>", _type(one["schema"]), escape(one["description"])]
            for name, one in document["components"]["headers"].items()
        ],
        "h3",
    )
    return (
        f'<section aria-labelledby="errors"><h2 id="errors">Errors</h2>{_code("Example", value)}'
        f"{''.join(made)}{headers}</section>"
    )


def _schemas(document: Mapping[str, Any]) -> str:
    made = "".join(
        f'<article aria-labelledby="schema-{escape(name)}"><h3 id="schema-{escape(name)}">'
        f"{escape(name)}</h3>{_paragraphs(schema.get('description') or '')}"
        f"<p>{_type(schema)}</p>{_nested(schema)}</article>"
        for name, schema in document["components"]["schemas"].items()
    )
    return f'<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>{made}</section>'


def _nested(schema: Mapping[str, Any]) -> str:
    """Return the table of an object's fields; nested objects get tables of their own."""
    if "properties" not in schema:
        inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), schema.get("items", {})]
        return "".join(_nested(one) for one in inner if one)
    required = schema.get("required", ())
    rows = [
        [
            f"<code>{escape(name)}</code>{_required(required=name in required)}",
            _type(field),
            escape(field.get("description", "")) + _nested(field),
        ]
        for name, field in schema["properties"].items()
    ]
    return _table(None, ("Field", "Type", "Meaning"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type and bounds in words; a named schema becomes a link."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for joint in ("allOf", "anyOf", "oneOf"):
        if joint in schema:
            word = " and " if joint == "allOf" else " or "
            return word.join(_type(one) for one in schema[joint])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "any value")
    words = [" or ".join(kind) if isinstance(kind, list) else kind]
    if kind == "array" and schema.get("items"):
        words = [f"list of {_type(schema['items'])}"]
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and values:
        words.append(f"of {_type(values)}")
    if "format" in schema:
        words.append(f"({escape(schema['format'])})")
    bounds = [
        text.format(f"<code>{escape(str(schema[name]))}</code>")
        for name, text in _BOUNDS.items()
        if name in schema
    ]
    return ", ".join([" ".join(words), *bounds])


def _required(*, required: bool) -> str:
    return " <strong>required</strong>" if required else ""


def _table(
    title: str | None, heads: Sequence[str], rows: Iterable[Sequence[str]], level: str = "h4"
) -> str:
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    heading = "" if title is None else f"<{level}>{escape(title)}</{level}>"
    return (
        f'{heading}<div class="table" tabindex="0" role="region" '
        f'aria-label="{escape(title or "Fields")}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _code(title: str, value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f'<h5>{escape(title)}</h5><pre tabindex="0"><code>{escape(text)}</code></pre>'


def _paragraphs(text: str) -> str:
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "".join(f"<p>{_with_code(part)}</p>" for part in parts if part)


def _with_code(text: str) -> str:
    """Return a paragraph as HTML; text between backquotes becomes code."""
    return "".join(
        f"<code>{escape(part)}</code>" if place % 2 else escape(part)
        for place, part in enumerate(text.split("`"))
    )
