"""The page of the API: it has everything in the document, and every user can read it."""

from __future__ import annotations

import json
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest

from api.docs_examples import example_of
from api.docs_html import body
from support.http_api import ApiOnFakes, http_api_event

MAX_BYTES = 500_000
_VOID = {"meta", "link", "input", "br", "img"}

BROWSER = """
const listeners = {};
const typed = { value: "sc_key" };
globalThis.document = {
  getElementById: () => typed,
  addEventListener: (name, listener) => { listeners[name] = listener; },
};
globalThis.fetch = async (url, options) => {
  console.log(JSON.stringify([url, options]));
  return { status: 202, headers: new Headers({ "Retry-After": "7" }), text: async () => '{"a":1}' };
};
"""
"""The parts of a browser that the page's script uses."""

SUBMIT = """
const output = { hidden: true, textContent: "" };
const fields = [
  { value: "a/b?c", name: "webhook_id", dataset: { in: "path" } },
  { value: "5", name: "limit", dataset: { in: "query" } },
  { value: "", name: "cursor", dataset: { in: "query" } },
  { value: "k", name: "Idempotency-Key", dataset: { in: "header" } },
  { value: "{}", dataset: { in: "body" } },
];
const form = {
  dataset: { method: "POST", path: "/api/v1/webhooks/{webhook_id}/test" },
  querySelectorAll: () => fields,
  querySelector: (name) => (name === "output" ? output : {}),
};
listeners.submit({ preventDefault() {}, target: form });
setTimeout(() => console.log(JSON.stringify(output)), 50);
"""


class Page(HTMLParser):
    """The elements of a page, and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def get(path: str, known: str | None = None) -> Any:
    headers = {} if known is None else {"If-None-Match": known}
    return ApiOnFakes().acme.call("GET", path, headers=headers)


@pytest.fixture(scope="module")
def html() -> str:
    return str(ApiOnFakes().acme.send(http_api_event("GET", "/docs")).text)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    answer = ApiOnFakes().acme.send(http_api_event("GET", "/api/v1/openapi.json"))
    made: dict[str, Any] = json.loads(answer.text)
    return made


def test_it_is_small(html: str) -> None:
    assert len(html.encode()) < MAX_BYTES


def test_it_has_every_operation_parameter_schema_and_error(
    html: str, document: dict[str, Any]
) -> None:
    page = Page(html)
    text = "".join(page.texts)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"] in ids
            assert f"{method.upper()} {path}" in text
            assert operation["summary"] in text
            for parameter in operation.get("parameters", ()):
                assert f"{operation['operationId']}-{parameter['name']}" in ids
    for name, schema in document["components"]["schemas"].items():
        assert f"schema-{name}" in ids
        assert all(field in text for field in schema.get("properties", ()))
    for name, response in document["components"]["responses"].items():
        assert f"error-{name}" in ids
        codes = response["content"]["application/json"]["examples"]
        assert " or ".join(codes) in page.texts, "the heading of an error is no name of ours"
    assert '"url": "https://your-server.com/webhooks/email"' in text


def test_every_link_leads_somewhere(html: str) -> None:
    page = Page(html)
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for attributes in page.of("a")]
    assert len(links) > 100
    assert {link for link in links if link.startswith("#") and link[1:] not in ids} == set()


def test_it_is_usable_by_keyboard_and_screen_reader(html: str) -> None:
    page = Page(html)
    labels = {attributes["for"] for attributes in page.of("label")}
    fields = page.of("input", "textarea")
    assert fields
    assert {field["id"] for field in fields} <= labels
    ids = {attributes.get("id") for _, attributes in page.elements}
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= ids
    assert [len(page.of(tag)) for tag in ("header", "nav", "main", "h1")] == [1, 1, 1, 1]
    assert page.of("html") == [{"lang": "en"}]
    [skip] = [one for one in page.of("a") if one.get("class") == "skip"]
    assert skip["href"][1:] in ids
    # Scrolling areas can be reached without a mouse.
    assert all(one["tabindex"] == "0" for one in page.of("div", "pre", "output"))
    assert all(one["scope"] in {"row", "col"} for one in page.of("th"))
    assert all("aria-live" in one and "aria-label" in one for one in page.of("output"))
    for text in ("prefers-color-scheme: dark", ":focus-visible", "max-width: 50rem"):
        assert text in html


def test_nothing_is_inline_that_the_policy_forbids(html: str) -> None:
    page = Page(html)
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    assert len(page.of("script")) == len(page.of("style")) == 1


@pytest.mark.parametrize("path", ["/docs", "/api/v1/openapi.json"])
def test_who_has_it_already_is_not_sent_it_again(path: str) -> None:
    first = get(path)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = get(path, known)
        assert (again.status, again.text or "") == (304, "")
        assert again.headers["ETag"] == etag
        assert ("Content-Security-Policy" in again.headers) == (path == "/docs")
    assert get(path, '"other"').status == 200


def test_it_can_be_disabled() -> None:
    acme = ApiOnFakes(docs_page=False).acme
    answer = acme.call("GET", "/docs")
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    paths = json.loads(acme.send(http_api_event("GET", "/api/v1/openapi.json")).text)["paths"]
    assert "/docs" not in paths
    assert len(paths) > 20


@pytest.mark.parametrize("docs_page", [True, False])
def test_the_dashboard_leads_to_what_there_is(docs_page: bool) -> None:
    acme = ApiOnFakes(docs_page=docs_page).acme
    for path in ("/dashboard", "/dashboard/index.html"):
        links = Page(acme.send(http_api_event("GET", path)).text).of("a")
        leading = {link["href"] for link in links if not link["href"].startswith("#")}
        assert leading == {"/docs" if docs_page else "/api/v1/openapi.json"}
        assert all(acme.send(http_api_event("GET", to)).status == 200 for to in leading)


def test_what_the_document_says_is_text_and_no_html(document: dict[str, Any]) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'`<i>`"
    made = json.loads(json.dumps(document))
    for operations in made["paths"].values():
        for operation in operations.values():
            operation["description"] = operation["summary"] = hostile
            for parameter in operation.get("parameters", ()):
                parameter["description"] = parameter["example"] = hostile
    for schema in made["components"]["schemas"].values():
        schema["description"] = hostile
    page = Page(f"<html>{body(made)}</html>")
    assert page.of("img", "i", "script") == []
    assert "onerror" in "".join(page.texts)


def test_an_example_is_the_schemas_own_or_made_of_its_type() -> None:
    fields: dict[str, Any] = {
        "id": {"type": "string", "format": "uuid"},
        "n": {"type": "integer"},
        "one": {"enum": ["x", "y"]},
        "list": {"type": "array", "items": {"$ref": "#/schemas/B"}},
        "either": {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
    }
    made: dict[str, Any] = {
        "schemas": {
            "A": {"type": "object", "properties": fields},
            "B": {"type": "string", "examples": ["b"]},
            "C": {"type": "array", "items": {"$ref": "#/schemas/C"}},
        }
    }
    assert example_of(made, {"$ref": "#/schemas/A"}) == {
        "id": "e406c83c-50bc-4783-b5fc-4beafe6bf5eb",
        "n": 1,
        "one": "x",
        "list": ["b"],
        "either": True,
    }
    # The example of a recursive schema is finite.
    assert example_of(made, {"$ref": "#/schemas/C"}) is not None


def test_its_form_makes_the_call_that_it_shows(html: str) -> None:
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    ran = subprocess.run(
        ["node", "-"], input=BROWSER + script + SUBMIT, capture_output=True, text=True, check=True
    )
    call, output = [json.loads(line) for line in ran.stdout.splitlines()]
    assert call == [
        "/api/v1/webhooks/a%2Fb%3Fc/test?limit=5",
        {
            "method": "POST",
            "headers": {
                "Idempotency-Key": "k",
                "Content-Type": "application/json",
                "Authorization": "Bearer sc_key",
            },
            "body": "{}",
            "credentials": "omit",
            "cache": "no-store",
        },
    ]
    assert output == {"hidden": False, "textContent": '202\nRetry-After: 7\n\n{\n  "a": 1\n}'}
