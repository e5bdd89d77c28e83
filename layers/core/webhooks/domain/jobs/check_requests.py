"""The requests of a check, made of a sample event each: genuine ones, and ones that are forged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from webhooks.domain.catalog import sample_event
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.event import EventType
from webhooks.domain.jobs.check import Probe
from webhooks.domain.signing import delivery_headers
from webhooks.domain.webhook import Secrets, Webhook, generated_secret
from webhooks.domain.webhook_rules import ALL_EVENTS

_SIGNATURE_HEADERS = ("X-SendComms-Signature", "webhook-signature")
_TIME_HEADER = "webhook-timestamp"
_CUT_CHARACTERS = 22
"""Half of a `v1` signature, and a third of the other one."""
_RECIPIENT, _OTHER_RECIPIENT = b"recipient@example.com", b"somebody@example.com"

_TRYING = {
    "check": {
        "name": "Zo\u00eb M\u00fcller <zoe@example.com>",
        "empty": "",
        "utm.source": "a key with a dot in it",
        "constructor": {"prototype": "keys that some parsers refuse"},
        "__proto__": "another one",
    }
}
"""What any event may have in `data`, and parsers of some frameworks change or refuse. It is in the
genuine request alone, so that a forged one is refused for what is forged."""

_OFF_SECONDS = {
    Probe.STALE_TIMESTAMP: -600,
    Probe.FUTURE_TIMESTAMP: 600,
    # An old copy, whose time somebody has then brought up to date.
    Probe.TAMPERED_TIMESTAMP: -600,
}
"""How far off a request's time is signed: twice what the Standard Webhooks libraries allow."""


class Request(NamedTuple):
    """A request, but for the headers that the webhook's owner adds."""

    body: bytes
    headers: Mapping[str, str]


class Signers(NamedTuple):
    """The secrets that sign a genuine request.

    `standard` are those of `webhook-signature`, new first, and `sendcomms` the one that
    `X-SendComms-Signature` has room for (contract 2.3).
    """

    standard: Sequence[str]
    sendcomms: str

    @classmethod
    def of(cls, live: Sequence[str]) -> Signers:
        """Return what live secrets sign with, new first: at least one."""
        return cls(live, live[-1])


def sample(webhook: Webhook, probe: Probe, event_id: str, now_ms: int) -> Delivery:
    """Return what a probe is made of: a delivery of a sample event, which no log ever has.

    The event is of a type that the webhook wants, and its subject tells whoever finds it what it
    is. The valid one is of the odd sort that a receiver must take as well. Each probe has an event
    of its own, but for a duplicate: a receiver that goes by ids alone would otherwise take a
    forgery for a repeat, and accept it.
    """
    wanted = webhook.events[0]
    is_valid = probe is Probe.VALID
    event = sample_event(
        EventType.DELIVERED.value if wanted == ALL_EVENTS else wanted,
        account_id=webhook.account_id,
        event_id=event_id,
        now_ms=now_ms,
        # The spaces are to be there when its receiver computes the signature, too.
        subject=f"A check of your receiver: {probe}{'  ' * is_valid}",
        more=_TRYING if is_valid else None,
    )
    return Delivery(
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        id=delivery_id(event.id, event.occurred_at_ms, webhook.id),
        event_id=event.id,
        event_type=event.type.value,
        body=event.body,
        status=Status.PENDING,
        created_at_ms=now_ms,
        test=True,
    )


def genuine(
    delivery: Delivery, signers: Signers, unix_seconds: int, attempt_number: int = 1
) -> Request:
    """Return a request as every delivery's are, signed at this moment."""
    headers = delivery_headers(
        delivery,
        attempt_number=attempt_number,
        unix_seconds=unix_seconds,
        secrets=signers.standard,
        sendcomms_secret=signers.sendcomms,
    )
    return Request(delivery.body, headers)


def forged(
    probe: Probe, delivery: Delivery, signers: Signers, unix_seconds: int, old_secret: str
) -> Request:
    """Return the request of a probe that is not genuine; ValueError for one that is.

    `old_secret` is one that does not count. What is not wrong with the request is as it should be.
    """
    if probe.genuine:
        msg = f"{probe} is genuine"
        raise ValueError(msg)
    signing = Signers.of([old_secret]) if probe is Probe.OLD_SECRET else signers
    signed = genuine(delivery, signing, unix_seconds + _OFF_SECONDS.get(probe, 0))
    headers = signed.headers
    if probe is Probe.TAMPERED_BODY:
        return signed._replace(body=signed.body.replace(_RECIPIENT, _OTHER_RECIPIENT))
    if probe is Probe.UNSIGNED:
        kept = {name: text for name, text in headers.items() if name not in _SIGNATURE_HEADERS}
        return signed._replace(headers=kept)
    if probe is Probe.TRUNCATED_SIGNATURE:
        cut = {name: _truncated(headers[name]) for name in _SIGNATURE_HEADERS}
        return signed._replace(headers={**headers, **cut})
    if probe is Probe.TAMPERED_TIMESTAMP:
        return signed._replace(headers={**headers, _TIME_HEADER: str(unix_seconds)})
    return signed


def unlive_secret(secrets: Secrets, now_ms: int, random_bytes: bytes) -> str:
    """Return a secret that does not count: the one before the last rotation where that is over.

    Where there is none, or it still counts, one is made of 32 random bytes that never was one.
    """
    previous = secrets.previous
    if previous is not None and previous not in secrets.live(now_ms):
        return previous
    return generated_secret(random_bytes)


def _truncated(signatures: str) -> str:
    return " ".join(signature[:-_CUT_CHARACTERS] for signature in signatures.split(" "))
