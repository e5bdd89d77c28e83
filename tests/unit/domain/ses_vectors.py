"""One record of Amazon SES of each type, and its events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.ses import SesAccounts, to_events

if TYPE_CHECKING:
    from webhooks.domain.event import Event

FOLDER = Path(__file__).parents[2] / "data" / "ses"
TABLE = SesAccounts({"ConfigSet": "acc_table", "email-tracking-set": "acc_bridge"}, "acc_default")


def vector(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return record


def only(record: dict[str, Any], accounts: SesAccounts | None = None) -> Event:
    (event,) = to_events(record, accounts=accounts)
    return event


def body_of(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(event.body)
    return body


def refusal(record: dict[str, Any]) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        to_events(record)
    return caught.value
