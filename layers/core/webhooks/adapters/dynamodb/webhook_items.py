"""A webhook as an item of its table, with its secrets and its health."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.adapters.dynamodb.item_keys import number, webhook_key
from webhooks.domain.health import CLEAN, Circuit, Comeback, Health, Window
from webhooks.domain.rotation import Refusals
from webhooks.domain.webhook import Secrets, Webhook
from webhooks.domain.webhook_fields import FIELDS, Field, FieldKind, May

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.adapters.dynamodb.item_keys import Item
    from webhooks.ports import WebhookChanges

RECOVERING = "yes"
"""The one partition of the sparse index of webhooks that have a recovery: they are few."""

FAILURE_ATTRIBUTES = ("failures", "failing_since", "warned_at")
"""The attributes of a webhook's health that a success clears, as does its owner by enabling it."""

DOWN = "down_since"
"""When the failures began that the owner was notified of; only a success clears it."""

WINDOW_ATTRIBUTES = ("window_since", "window_failed", "window_taken")
"""The attempts of a minute in which most of them fail."""

PROBATION = "probation"
"""Present while a webhook gets new events after one success, and further attempts judge it."""

TARGET_CHANGED = "target_changed_at"
"""When a field that requests depend on last changed: the url, the headers, or whether the webhook
is enabled. Failures from before that say nothing about the webhook; a new description does not
matter."""

UNCHANGED = (
    f"attribute_exists(webhook_id) AND (attribute_not_exists({TARGET_CHANGED})"
    f" OR {TARGET_CHANGED} <= :updated_at)"
)
"""The condition that a webhook's target is unchanged since it was read with `:updated_at`; that
reading included every change up to that time."""

NOT_BEFORE = "not_before"
"""The end of the pause that the receiver asked for (`Retry-After`)."""

ASKED = "asked_at"
"""When its owner last enabled a webhook, or asked for a probe."""

RECOVERY_ATTRIBUTES = (
    "circuit",
    "comeback",
    ASKED,
    "draining_since",
    PROBATION,
    "recovery_id",
    "recovery_due_at",
    "recovering",
)
"""The attributes that the end of a recovery clears."""

REFUSALS = "secret_refusals"
"""How often in an overlap a receiver refused both secrets."""

_HEALTH_ATTRIBUTES = frozenset(
    {*FAILURE_ATTRIBUTES, DOWN, *WINDOW_ATTRIBUTES, *RECOVERY_ATTRIBUTES, NOT_BEFORE}
)


_ENCODERS: dict[FieldKind, Callable[[Any], dict[str, Any]]] = {
    FieldKind.URL: lambda text: {"S": text},
    FieldKind.TEXT: lambda text: {"S": text},
    FieldKind.SECRET: lambda text: {"S": text},
    FieldKind.NAMES: lambda texts: {"L": [{"S": text} for text in texts]},
    FieldKind.FLAG: lambda flag: {"BOOL": flag},
    FieldKind.TIME: number,
    FieldKind.HEADERS: lambda texts: {"M": {name: {"S": text} for name, text in texts.items()}},
    # As one text, since DynamoDB does not keep the order of a map.
    FieldKind.PAIRS: lambda texts: {
        "S": json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    },
}
_DECODERS: dict[FieldKind, Callable[[Any], Any]] = {
    FieldKind.URL: itemgetter("S"),
    FieldKind.TEXT: itemgetter("S"),
    FieldKind.NAMES: lambda value: tuple([text["S"] for text in value["L"]]),
    FieldKind.FLAG: itemgetter("BOOL"),
    FieldKind.TIME: lambda value: int(value["N"]),
    FieldKind.HEADERS: lambda value: {name: text["S"] for name, text in value["M"].items()},
    FieldKind.PAIRS: lambda value: json.loads(value["S"]),
}


class _Codec(NamedTuple):
    """The conversion of a field to its attribute and back."""

    field: Field
    name: str
    attribute: str
    encode: Callable[[Any], dict[str, Any]]
    decode: Callable[[Any], Any]


# `read_secrets` reads secrets, and `read_health` the health.
_CODECS = [
    _Codec(
        field, field.python_name, field.attributes[0], _ENCODERS[field.kind], _DECODERS[field.kind]
    )
    for field in FIELDS
    if field.kind in _DECODERS
]
# Prepared once: items are read for every event.
_ALWAYS = [(each.name, each.attribute, each.decode) for each in _CODECS if each.field.required]
_SOMETIMES = [
    (each.name, each.attribute, each.decode) for each in _CODECS if not each.field.required
]


def webhook_item(webhook: Webhook, secret: str) -> Item:
    """Return a new webhook as an item, without its empty optional fields."""
    item: Item = webhook_key(webhook.account_id, webhook.id) | {"secret": {"S": secret}}
    for codec in _CODECS:
        value = getattr(webhook, codec.name)
        if value or codec.field.required:
            item[codec.attribute] = codec.encode(value)
    return item


def read_webhook(item: Mapping[str, Any]) -> Webhook:
    """Return the webhook of an item, whether or not the item shows its secrets."""
    values = {name: decode(item[attribute]) for name, attribute, decode in _ALWAYS}
    for name, attribute, decode in _SOMETIMES:
        if attribute in item:
            values[name] = decode(item[attribute])
    return Webhook(account_id=item["account_id"]["S"], health=read_health(item), **values)


def read_health(item: Mapping[str, Any]) -> Health:
    """Return the health of a webhook's item; an item without health attributes is healthy."""
    if _HEALTH_ATTRIBUTES.isdisjoint(item):
        return CLEAN
    return Health(
        failures=int(item.get("failures", {}).get("N", 0)),
        failing_since_ms=_time(item, "failing_since"),
        circuit=Circuit(item.get("circuit", {}).get("S", Circuit.CLOSED)),
        recovery_id=item.get("recovery_id", {}).get("S"),
        recovery_due_at_ms=int(item.get("recovery_due_at", {}).get("N", 0)),
        draining_since_ms=int(item.get("draining_since", {}).get("N", 0)),
        warned_at_ms=_time(item, "warned_at"),
        down_since_ms=_time(item, "down_since"),
        window=_window(item),
        comeback=Comeback(item.get("comeback", {}).get("S", Comeback.FULL)),
        not_before_ms=_time(item, NOT_BEFORE),
        probation=PROBATION in item,
    )


def _window(item: Mapping[str, Any]) -> Window | None:
    # The API's role reads none of these.
    if "window_since" not in item:
        return None
    return Window(*[int(item[name]["N"]) for name in WINDOW_ATTRIBUTES])


def asked(recovery_id: str, now_ms: int) -> Item:
    """Return the attributes of a webhook whose owner starts a recovery now, with a probe."""
    return {
        "circuit": {"S": Circuit.OPEN.value},
        "comeback": {"S": Comeback.SLOW.value},
        ASKED: number(now_ms),
        **recovering(recovery_id, now_ms),
    }


def recovering(recovery_id: str, due_ms: int) -> Item:
    """Return the attributes of a webhook with a recovery, including those of the sparse index."""
    return {
        "recovery_id": {"S": recovery_id},
        "recovery_due_at": number(due_ms),
        "recovering": {"S": RECOVERING},
    }


def read_secrets(item: Mapping[str, Any]) -> Secrets:
    """Return the secrets of a webhook's item, as far as the item shows them."""
    return Secrets(
        current=item.get("secret", {}).get("S"),
        previous=item.get("previous_secret", {}).get("S"),
        previous_expires_at_ms=int(item.get("previous_secret_expires_at", {}).get("N", 0)),
        refusals=_refusals(item) if REFUSALS in item else None,
    )


def _refusals(item: Mapping[str, Any]) -> Refusals | None:
    """Return the refusals of both secrets, None if they belong to another overlap."""
    value = item[REFUSALS]["M"]
    if value["until"] != item.get("previous_secret_expires_at"):
        return None
    return Refusals(int(value["count"]["N"]), int(value["at"]["N"]))


def refusals_value(secrets: Secrets, now_ms: int) -> dict[str, Any]:
    """Return one refusal more than `secrets` has; the end of its overlap identifies the overlap."""
    count = secrets.refusals.times + 1 if secrets.refusals else 1
    until = number(secrets.previous_expires_at_ms)
    return {"M": {"until": until, "count": number(count), "at": number(now_ms)}}


def changed_attributes(changes: WebhookChanges) -> Item:
    """Return the attributes that an owner sets to another value."""
    return {
        codec.attribute: codec.encode(changes[codec.name])
        for codec in _CODECS
        if codec.name in changes and not _clears(changes, codec.field)
    }


def cleared_attributes(changes: WebhookChanges) -> list[str]:
    """Return the attributes that an owner clears."""
    return [
        codec.attribute
        for codec in _CODECS
        if codec.name in changes and _clears(changes, codec.field)
    ]


def changes_target(changes: WebhookChanges) -> bool:
    """Whether earlier failures say nothing about the webhook after these changes."""
    return not {"url", "headers", "active"}.isdisjoint(changes)


def _clears(changes: WebhookChanges, field: Field) -> bool:
    return May.CLEAR in field.may and not changes[field.name]


def _time(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def was_down(item: Mapping[str, Any]) -> bool:
    """Whether the owner was notified of an open circuit: not if it awaits the owner's probe."""
    enabled = item.get("comeback", {}).get("S") == Comeback.SLOW
    return DOWN in item or not enabled
