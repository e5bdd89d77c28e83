"""Row 93: events without a subscribed webhook, and mail whose account is unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.receiver import Answer
from webhooks.settings import Settings
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]


def record(account_tag: object) -> str:
    """Return a record of SES with a message tag `account_id`."""
    mail = {
        "timestamp": "2025-12-21T10:30:00.000Z",
        "messageId": "0100",
        "destination": ["anna@customer.example"],
        "tags": {"account_id": account_tag},
    }
    return json.dumps({"eventType": "Send", "send": {}, "mail": mail})


def test_row_93_an_event_of_an_account_without_webhooks_leaves_a_trace(tenant: Tenant) -> None:
    assert tenant.dispatch(tenant.message("txn_1"), tenant.message("txn_2")) == []
    [line] = tenant.log.lines("events_unwanted")
    assert (line["account_id"], line["cause"]) == (tenant.account, "NoSuchAccount")
    assert (line["events"], line["level"]) == (2, "WARNING")
    assert '"NoSuchAccount":[2.0]' in tenant.log.text


def test_row_93_an_event_that_no_webhook_is_subscribed_to_leaves_a_trace(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook, events=("email.bounced",))
    assert tenant.dispatch(tenant.message(event="email.sent")) == []
    [line] = tenant.log.lines("events_unwanted")
    assert (line["cause"], line["event_types"]) == ("NoMatchingWebhook", ["email.sent"])
    assert '"NoMatchingWebhook":[1.0]' in tenant.log.text
    assert hook.requests == []


@pytest.mark.parametrize("tag", [[], [""], None, [17], ["no account"], "other"])
def test_row_93_an_account_tag_of_a_wrong_form_is_dead_lettered(
    tenant: Tenant, receiver: MakeReceiver, tag: Any
) -> None:
    """The default account's webhooks do not receive it."""
    hook = receiver(Answer(200))
    tenant.webhook(hook, events=("*",))
    services = tenant.harness.fresh(DispatcherServices, default_account_id=tenant.account)
    assert Settings().default_account_id != tenant.account
    value = [tenant.account, "acc_other"] if tag == "other" else tag
    assert tenant.dispatch(record(value), services=services) == []
    assert list(tenant.rejected().values()) == ["invalid_field"]
    assert hook.requests == []
    # A readable tag belongs to its account.
    assert tenant.dispatch(record([tenant.account]), services=services) == []
    assert len(hook.requests) == 1
