"""Captured records of Amazon SES, and their events."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from webhooks.domain.catalog import schema_of
from webhooks.domain.ingest import ParsedMessage, read_message
from webhooks.domain.ses import SesAccounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.event import Event, EventType

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "ses_records"
NAMES = sorted(path.name.removesuffix(".expected.json") for path in FOLDER.glob("*.expected.json"))
ACCOUNTS = SesAccounts({"shop-mail": "acc_shop"}, "acc_default")


def text_of(name: str) -> str:
    paths = (FOLDER / f"{name}.json", DATA / "ses" / f"{name}.json")
    return next(path for path in paths if path.exists()).read_text(encoding="utf-8")


SENT_AT_MS = 1_900_000_000_000
"""Later than all records, which lie in their readers' past."""


def read(text: str) -> ParsedMessage:
    return read_message(text, sent_at_ms=SENT_AT_MS, ses_accounts=ACCOUNTS)


def told(event: Event) -> dict[str, Any]:
    """Return the parts that are compared with an expectation."""
    body = json.loads(event.body)
    return {**body, "to": body["data"]["to"], "account_id": event.account_id}


@cache
def validator(event_type: EventType) -> Draft202012Validator:
    """Return a validator of exactly the shapes of SES's event fields."""
    schema = copy.deepcopy(schema_of(event_type))
    fields = schema["properties"]["data"]["properties"]
    for name in fields.keys() - {"to"}:
        fields[name] = fields[name]["anyOf"][0]
    return Draft202012Validator(schema)


def validate(event: Event) -> None:
    validator(event.type).validate(json.loads(event.body))


def bare(name: str) -> dict[str, Any]:
    """Return a record out of its envelopes."""
    document = json.loads(text_of(name))
    while True:
        if "Message" in document:
            document = json.loads(document["Message"])
        elif "detail" in document:
            document = document["detail"]
        else:
            record: dict[str, Any] = document
            return record


MISSING = object()


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from paths_in(part, (*path, key))


def with_odd(record: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(value)
    return changed
