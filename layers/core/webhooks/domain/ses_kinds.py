"""The kinds of SES's records: the event type of each, and the fields copied into `data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.event import EventType

if TYPE_CHECKING:
    from collections.abc import Mapping


class SesKind(NamedTuple):
    """The places in a record of one type that hold the occurrence and its recipients.

    `detail` is the record's part about the occurrence; `name` is that part's name in the event's
    data. `recipients` is the field in `detail` that lists the affected recipients, None if SES does
    not name them; `to_all` means that all of the email's recipients are affected. Without `timed`
    the part has no time.
    """

    event_type: EventType
    detail: str
    name: str
    recipients: str | None = None
    to_all: bool = False
    timed: bool = True


KINDS = {
    "Send": SesKind(EventType.SENT, "send", "send", to_all=True, timed=False),
    "Delivery": SesKind(EventType.DELIVERED, "delivery", "delivery", "recipients"),
    "Bounce": SesKind(EventType.BOUNCED, "bounce", "bounce", "bouncedRecipients"),
    "Complaint": SesKind(EventType.COMPLAINED, "complaint", "complaint", "complainedRecipients"),
    "Open": SesKind(EventType.OPENED, "open", "open"),
    "Click": SesKind(EventType.CLICKED, "click", "click"),
    "DeliveryDelay": SesKind(
        EventType.DELIVERY_DELAYED, "deliveryDelay", "delivery_delay", "delayedRecipients"
    ),
    "Reject": SesKind(EventType.FAILED, "reject", "failure", to_all=True, timed=False),
    "Rendering Failure": SesKind(EventType.FAILED, "failure", "failure", to_all=True, timed=False),
    "Subscription": SesKind(EventType.UNSUBSCRIBED, "subscription", "subscription"),
}
"""The kinds that become events, by SES's word for them."""

NO_COMPLAINTS = frozenset({"not-spam", "auth-failure"})
"""Types of feedback that are no complaint: a recipient took the mail out of spam, a provider
reports on the mail's authentication."""

_SUPPRESSED = frozenset(
    {
        "Suppressed",
        "OnAccountSuppressionList",
        "OnTenantSuppressionList",
        "EmailValidationSuppressed",
        "UnsubscribedRecipient",
    }
)
"""Subtypes of records about mail that SES did not send at all."""

_NUMBER = (int, float)
_PASSED_ON: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "bounceType": ("ses_type", str),
    "bounceSubType": ("ses_subtype", str),
    "diagnosticCode": ("diagnostic", str),
    "status": ("status", str),
    "action": ("action", str),
    "complaintFeedbackType": ("type", str),
    "complaintSubType": ("ses_subtype", str),
    "arrivalDate": ("arrival_date", str),
    "feedbackId": ("feedback_id", str),
    "smtpResponse": ("smtp_response", str),
    "processingTimeMillis": ("processing_time_ms", _NUMBER),
    "reportingMTA": ("reporting_mta", str),
    "remoteMtaIp": ("remote_mta_ip", str),
    "link": ("link", str),
    "linkTags": ("link_tags", dict),
    "ipAddress": ("ip", str),
    "userAgent": ("user_agent", str),
    "delayType": ("type", str),
    "expirationTime": ("expires_at", str),
    "reason": ("reason", str),
    "errorMessage": ("reason", str),
    "templateName": ("template", str),
    "contactList": ("contact_list", str),
    "source": ("source", str),
}
"""The fields of a record's detail and recipients that are copied: our name, and the type.

A value of another type is left out, because receivers rely on the schema.
"""

_OF_A_REPORT = ("status", "action", "diagnosticCode")
_OF_THE_SERVER = ("reportingMTA", "remoteMtaIp")


def dropped_as(kind: SesKind, record: Mapping[str, object]) -> str | None:
    """Return the name under which a record without an event is counted; None if it is an event.

    Complaints with feedback in `NO_COMPLAINTS`, and changes of preferences without an opt-out.
    """
    detail = record.get(kind.detail)
    if not isinstance(detail, dict):
        return None
    if kind.event_type is EventType.COMPLAINED:
        feedback = detail.get("complaintFeedbackType")
        name = feedback.strip().lower() if isinstance(feedback, str) else None
        return name if name in NO_COMPLAINTS else None
    if kind.event_type is EventType.UNSUBSCRIBED and not _unsubscribes(detail):
        return "Subscription"
    return None


def particulars(
    kind: SesKind, detail: Mapping[str, object], entry: Mapping[str, object]
) -> dict[str, object]:
    """Return a record's specific fields: its general ones, and one recipient's from `entry`."""
    found = {**_picked(detail), **_picked(entry)}
    match kind.event_type:
        case EventType.BOUNCED:
            return _bounce(found, detail, entry)
        case EventType.COMPLAINED if found.get("ses_subtype") in _SUPPRESSED:
            return {**found, "suppressed": True}
        case EventType.OPENED | EventType.CLICKED:
            return {**found, **_bot(detail.get("isBotEvent"))}
        case EventType.FAILED:
            failed = "rejected" if kind.detail == "reject" else "rendering_failed"
            return {"type": failed, **found}
        case EventType.UNSUBSCRIBED:
            new = _preferences(detail, "newTopicPreferences")
            return {**found, "all": new.get("unsubscribeAll") is True, "topics": _opted_out(new)}
    return found


def _bounce(
    found: dict[str, object], detail: Mapping[str, object], entry: Mapping[str, object]
) -> dict[str, object]:
    # SES uses Permanent only if it will not try again; all other types are less certain.
    hard = found.get("ses_type") == "Permanent"
    bounce: dict[str, object] = {"type": "hard" if hard else "soft", **found}
    if found.get("ses_subtype") in _SUPPRESSED:
        bounce["suppressed"] = True
    # An automatic reply, not a server's report: both status and server are missing.
    if (
        found.get("ses_type") == "Transient"
        and found.get("ses_subtype") == "General"
        and not any(detail.get(name) for name in _OF_THE_SERVER)
        and not any(entry.get(name) for name in _OF_A_REPORT)
    ):
        bounce["auto_reply"] = True
    return bounce


def _bot(said: object) -> dict[str, object]:
    word = said.strip().lower() if isinstance(said, str) else None
    return {"bot": word} if word in {"likely", "unlikely"} else {}


def _unsubscribes(detail: Mapping[str, object]) -> bool:
    """Whether a contact opted out; True also if the preferences cannot be read.

    A recipient may also subscribe on the page that SES's link leads to.
    """
    new = detail.get("newTopicPreferences")
    if not isinstance(new, dict) or new.get("unsubscribeAll") is True:
        return True
    if not isinstance(new.get("topicSubscriptionStatus"), list):
        return "unsubscribeAll" not in new
    old = _opted_out(_preferences(detail, "oldTopicPreferences"))
    return not set(_opted_out(new)).issubset(old)


def _preferences(detail: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = detail.get(name)
    return value if isinstance(value, dict) else {}


def _opted_out(preferences: Mapping[str, object]) -> list[str]:
    """Return the topics that a contact has opted out of."""
    listed = preferences.get("topicSubscriptionStatus")
    topics = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    names = [one.get("topicName") for one in topics if one.get("subscriptionStatus") == "OptOut"]
    return [name for name in names if isinstance(name, str)]


def _picked(source: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for theirs, (ours, kind) in _PASSED_ON.items():
        value = source.get(theirs)
        if isinstance(value, kind) and not isinstance(value, bool):
            found[ours] = value
    return found
