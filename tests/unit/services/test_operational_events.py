"""The statements of the page about operational events, held against the published events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.adapters.eventbridge import EventBridgeOperationalEvents
from webhooks.domain.delivery import Status
from webhooks.domain.health import DISABLE_AFTER_MS, WARN_AFTER_MS
from webhooks.domain.operational_event import OperationalEventType

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads((DOCS / "operational-events.schema.json").read_text())


class Bus:
    """EventBridge's client, which keeps its entries."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{}]}


@pytest.fixture
def published() -> dict[str, dict[str, Any]]:
    """The details of everything that a webhook's long decline publishes."""
    bus = Bus()
    services = ServiceFixture(operational_events=EventBridgeOperationalEvents(bus, "stack"))  # type: ignore[arg-type]
    services.add()
    failed = [samples.attempt(number) for number in range(1, 11)]
    services.health.report(services.webhook(), failed)
    services.health.report(services.webhook(), [samples.attempt(error=None, status_code=200)])
    services.health.report(services.webhook(), failed[:1])
    for passed_ms in (WARN_AFTER_MS, DISABLE_AFTER_MS):
        services.now_ms = samples.NOW_MS + passed_ms
        services.health.report(services.webhook(), failed[:1])
    services.health.paused(services.webhook(), services.now_ms)
    services.health.exhausted(samples.delivery(status=Status.EXHAUSTED))
    services.health.expiring(samples.delivery().defer("webhook_disabled"), services.now_ms)
    return {entry["DetailType"]: json.loads(entry["Detail"]) for entry in bus.entries}


def test_each_event_is_published_as_its_schema_says(published: dict[str, dict[str, Any]]) -> None:
    assert set(published) == {kind.value for kind in OperationalEventType}
    for detail in published.values():
        jsonschema.validate(detail, SCHEMA, format_checker=jsonschema.FormatChecker())


def test_no_event_holds_a_url_a_secret_or_a_payload(published: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(published)
    assert samples.SECRET not in text
    assert samples.webhook().url not in text
    assert "@" not in text


def test_the_page_lists_the_fields_of_each(published: dict[str, dict[str, Any]]) -> None:
    page = (DOCS / "operational-events.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| [^|]+ \| (.+) \|$", page, re.MULTILINE))
    common = {"version", "stack", "type", "account_id", "webhook_id", "at"}
    for kind, detail in published.items():
        assert common | set(re.findall(r"`([a-z_]+)`", rows[kind])) - {"failing", "gone"} == set(
            detail
        )


def test_the_pages_example_is_one(published: dict[str, dict[str, Any]]) -> None:
    page = (DOCS / "operational-events.md").read_text()
    example = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    jsonschema.validate(example["detail"], SCHEMA)
    assert example["detail"].keys() == published[example["detail-type"]].keys()
