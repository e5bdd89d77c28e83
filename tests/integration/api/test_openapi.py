"""The OpenAPI document: complete, valid, up to date, and readable without a key."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from local import openapi
from support.http_api import ApiOnFakes, http_api_event

if TYPE_CHECKING:
    from collections.abc import Iterator

REF = "#/components/"
PUBLIC = {"/docs", "/api/v1/openapi.json", "/dashboard", "/dashboard/{file}"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(openapi.generate())
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    kind, name = value["$ref"].removeprefix(REF).split("/")
    found: dict[str, Any] = document["components"][kind][name]
    return found


def refs(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def schema_in(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {"components": document["components"], **schema}


def test_the_committed_document_is_that_of_the_code() -> None:
    committed = openapi.DOCUMENT.read_text(encoding="utf-8")
    assert committed == openapi.generate(), "run python -m local.openapi"


def test_every_reference_leads_somewhere_and_nothing_is_unused(document: dict[str, Any]) -> None:
    found = {ref.removeprefix(REF) for ref in refs(document)}
    components = {
        f"{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in document["components"][kind]
    }
    # The rest is for calls of absent methods, and belongs to no operation.
    assert components - found == {"responses/MethodNotAllowed"}
    assert found <= components


def test_every_operation_says_what_it_is_called_and_what_it_needs(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    tags = {tag["name"] for tag in document["tags"]}
    assert len(names) == len(set(names))
    for method, path, operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) < tags
        public = path in PUBLIC
        scope = "publish" if path.endswith("/events") else "read" if method == "get" else "write"
        assert operation["security"] == ([] if public else [{"apiKey": [scope]}])
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def test_every_error_has_the_envelope_its_codes_and_examples(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        answers = {
            status: resolved(document, answer) for status, answer in operation["responses"].items()
        }
        public = path in PUBLIC
        assert {"422", "500"} | (set() if public else {"401", "403", "503"}) <= set(answers)
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"]
            if status < "4":
                continue
            content = answer["content"]["application/json"]
            schema = schema_in(document, content["schema"])
            codes = content["schema"]["properties"]["error"]["properties"]["code"]["enum"]
            assert list(content["examples"]) == codes
            for example in content["examples"].values():
                Draft202012Validator(schema).validate(example["value"])
            other = {"success": False, "error": {"code": "another", "message": "Another."}}
            assert not Draft202012Validator(schema).is_valid(other)


def test_errors_have_the_headers_that_say_what_to_do(document: dict[str, Any]) -> None:
    of = {
        name: set(answer["headers"]) for name, answer in document["components"]["responses"].items()
    }
    assert "WWW-Authenticate" in of["Unauthorized"]
    assert "WWW-Authenticate" in of["InsufficientScope"]
    assert "Allow" in of["MethodNotAllowed"]
    assert "Retry-After" in of["Unavailable"]
    limits = {name for name in of if name.startswith("TooMany") and "Attempts" not in name}
    assert {"TooManyCalls", "TooManyCallsOrTooManyReplays"} < limits
    assert all("Retry-After" in of[name] for name in limits)
    for method, _, operation in operations(document):
        named = {parameter["name"] for parameter in operation.get("parameters", ())}
        successes = [answer for status, answer in operation["responses"].items() if status < "3"]
        assert successes
        assert ("Idempotency-Key" in named) == (method in {"post", "put"})
        for success in successes:
            assert ("Idempotency-Replayed" in success["headers"]) == (method in {"post", "put"})


def test_the_examples_of_bodies_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for _, _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = schema_in(document, content["schema"])
            Draft202012Validator(schema).validate(content["example"])
            checked += 1
    assert checked == 8


def test_the_document_needs_no_key_and_goes_compressed_to_who_takes_it() -> None:
    api = ApiOnFakes()
    plain = api.acme.send(http_api_event("GET", "/api/v1/openapi.json"))
    assert (plain.status, plain.headers["Content-Type"]) == (200, "application/json")
    assert plain.text == openapi.generate()
    event = http_api_event("GET", "/api/v1/openapi.json", headers={"Accept-Encoding": "gzip"})
    zipped = api.acme.send(event)
    assert gzip.decompress(base64.b64decode(zipped.text)).decode() == plain.text
    refused = api.acme.send(http_api_event("POST", "/api/v1/openapi.json"))
    assert (refused.status, refused.headers["Allow"]) == (405, "GET")


class Page(HTMLParser):
    """The scripts and styles of a page, and the addresses that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: dict[str, list[str]] = {"script": [], "style": []}
        self.loads: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag in self.sources:
            self._inside = tag
            self.sources[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.sources[self._inside][-1] += data


def test_the_page_runs_what_its_policy_names_and_loads_nothing_of_others() -> None:
    answer = ApiOnFakes().acme.send(http_api_event("GET", "/docs"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")
    )
    page = Page(answer.text)
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        digests = [hashlib.sha256(source.encode()).digest() for source in page.sources[tag]]
        named = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
        assert policy[directive].split() == named
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    loads = {load for load in page.loads if not load.startswith("#")}
    assert loads == {"data:,", "/api/v1/openapi.json"}
    # A browser turns these into   before it computes a digest.
    assert "\r" not in answer.text
