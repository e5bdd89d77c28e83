"""The requests of a check, genuine and forged, each made from a sample event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from webhooks.domain.catalog import sample_event
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.event import EventType
from webhooks.domain.jobs.check import CheckRequest
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
"""Fields that any event may have in `data`, but that parsers of some frameworks change or refuse.
Only the genuine request has them, so that a forged request is refused for its forgery alone."""

_OFF_SECONDS = {
    CheckRequest.STALE_TIMESTAMP: -600,
    CheckRequest.FUTURE_TIMESTAMP: 600,
    # An old copy whose time was then updated.
    CheckRequest.TAMPERED_TIMESTAMP: -600,
}
"""Offset of a request's signed time: twice the tolerance of the Standard Webhooks libraries."""


class SignedRequest(NamedTuple):
    """A request, without the headers that the webhook's owner adds."""

    body: bytes
    headers: Mapping[str, str]


class Signers(NamedTuple):
    """The secrets that sign a genuine request.

    `standard` are for `webhook-signature`, new first, and `sendcomms` for `X-SendComms-Signature`,
    which has room for one (contract 2.3).
    """

    standard: Sequence[str]
    sendcomms: str

    @classmethod
    def of(cls, live: Sequence[str]) -> Signers:
        """Return the signers of live secrets, given new first: at least one."""
        return cls(live, live[-1])


def sample(webhook: Webhook, request: CheckRequest, event_id: str, now_ms: int) -> Delivery:
    """Return a request's delivery of a sample event, which is never logged.

    The event is of a type that the webhook wants, and its subject explains its purpose to anyone
    who finds it. The valid one has unusual content that a receiver must accept as well. Each
    request has its own event, except a duplicate: otherwise a receiver that checks ids alone would
    take a forgery for a repeat, and accept it.
    """
    wanted = webhook.events[0]
    is_valid = request is CheckRequest.VALID
    event = sample_event(
        EventType.DELIVERED.value if wanted == ALL_EVENTS else wanted,
        account_id=webhook.account_id,
        event_id=event_id,
        now_ms=now_ms,
        # Double spaces, which must still be there when the receiver computes the signature.
        subject=f"A check of your receiver: {request}{'  ' * is_valid}",
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


def valid_request(
    delivery: Delivery, signers: Signers, unix_seconds: int, attempt_number: int = 1
) -> SignedRequest:
    """Return a request signed at this moment, the same as for any delivery."""
    headers = delivery_headers(
        delivery,
        attempt_number=attempt_number,
        unix_seconds=unix_seconds,
        secrets=signers.standard,
        sendcomms_secret=signers.sendcomms,
    )
    return SignedRequest(delivery.body, headers)


def forged(
    request: CheckRequest, delivery: Delivery, signers: Signers, unix_seconds: int, old_secret: str
) -> SignedRequest:
    """Return a forged request; ValueError for a genuine one.

    `old_secret` is no longer valid. Except for the request's fault, the request is correct.
    """
    if request.genuine:
        msg = f"{request} is genuine"
        raise ValueError(msg)
    signing = Signers.of([old_secret]) if request is CheckRequest.OLD_SECRET else signers
    signed = valid_request(delivery, signing, unix_seconds + _OFF_SECONDS.get(request, 0))
    headers = signed.headers
    if request is CheckRequest.TAMPERED_BODY:
        return signed._replace(body=signed.body.replace(_RECIPIENT, _OTHER_RECIPIENT))
    if request is CheckRequest.UNSIGNED:
        kept = {name: text for name, text in headers.items() if name not in _SIGNATURE_HEADERS}
        return signed._replace(headers=kept)
    if request is CheckRequest.TRUNCATED_SIGNATURE:
        cut = {name: _truncated(headers[name]) for name in _SIGNATURE_HEADERS}
        return signed._replace(headers={**headers, **cut})
    if request is CheckRequest.TAMPERED_TIMESTAMP:
        return signed._replace(headers={**headers, _TIME_HEADER: str(unix_seconds)})
    return signed


def unlive_secret(secrets: Secrets, now_ms: int, random_bytes: bytes) -> str:
    """Return an invalid secret: the one before the last rotation, if its overlap has ended.

    If there is none, or it is still valid, a new one is made from 32 random bytes and used nowhere.
    """
    previous = secrets.previous
    if previous is not None and previous not in secrets.live(now_ms):
        return previous
    return generated_secret(random_bytes)


def _truncated(signatures: str) -> str:
    return " ".join(signature[:-_CUT_CHARACTERS] for signature in signatures.split(" "))
