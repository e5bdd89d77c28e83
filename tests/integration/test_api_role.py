"""What the api really calls against what its role allows: a call too many would be refused."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from local import template
from support.backend import Backend, backend
from webhooks.domain.delivery import Status
from webhooks.domain.webhook import Registration
from webhooks.ports import WebhookChanges
from webhooks.services.delivery_log import DeliveryFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.wiring import Services

SECRETS = {"secret", "previous_secret", "previous_secret_expires_at"}
READS = {"GetItem", "Query"}
_KEYWORDS = {"attribute_exists", "attribute_not_exists", "SET", "REMOVE", "ADD", "AND", "OR"}


class Calls:
    """The calls that were made of a table, an index or a state machine, transactions taken apart.

    Each is known by IAM's word for it, as `PutItem` for a put that is part of a transaction.
    """

    def __init__(self) -> None:
        self.made: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)

    def __call__(self, operation: str, parameters: dict[str, Any]) -> None:
        if operation == "StartExecution":
            self.made["RetryStateMachine", operation].append(parameters)
        for write in parameters.get("TransactItems", []):
            [(kind, inner)] = write.items()
            self.made[inner["TableName"], f"{kind}Item"].append(inner)
        for table in parameters.get("RequestItems", {}):
            self.made[table, operation].append(parameters)
        if "TableName" in parameters:
            index = f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""
            self.made[parameters["TableName"] + index, operation].append(parameters)


@cache
def statements() -> dict[str, dict[str, Any]]:
    [policy] = template.load()["Resources"]["ApiRole"]["Properties"]["Policies"]
    return {one["Sid"]: one for one in policy["PolicyDocument"]["Statement"]}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resource_name(resource: Any) -> str:
    """Return the logical id behind a statement's resource, with what follows it."""
    if "Fn::Sub" in resource:
        return re.sub(r"\$\{(\w+)\.Arn\}", r"\1", str(resource["Fn::Sub"]))
    return str(resource["Ref"] if "Ref" in resource else resource["Fn::GetAtt"][0])


def named_attributes(parameters: dict[str, Any]) -> set[str]:
    """Return the attributes that a call names, as IAM's `dynamodb:Attributes` has them."""
    names = {*parameters.get("Key", {}), *parameters.get("Item", {})}
    aliases = parameters.get("ExpressionAttributeNames", {})
    for field, text in parameters.items():
        if field.endswith("Expression"):
            words = re.findall(r"[#:]?\w+", text)
            names |= {aliases.get(word, word) for word in words if not word.startswith(":")}
    return names - _KEYWORDS


def manage_a_webhook(services: Services) -> None:
    """Do all that the API does with a webhook and its log."""
    account, registry, logbook = "acc_1", services.registry, services.logbook
    webhook_id = registry.register(
        account, Registration("http://127.0.0.1:9/hook", ("*",))
    ).webhook.id
    changes = WebhookChanges("http://127.0.0.1:9/", ["*"], True, "x", {"X-Team": "x"})
    webhook = registry.update(account, webhook_id, changes)
    assert webhook
    assert registry.rotate_secret(account, webhook_id)
    assert registry.rotate_secret(account, webhook_id, overlap_seconds=0)
    assert registry.page(account, 10).webhooks
    delivery = logbook.test(webhook, "email.sent")
    assert logbook.resend(webhook, delivery.id)
    for status, found in ((None, 2), (Status.PENDING, 1), (Status.RETRYING, 1)):
        if status is None:
            services._deliveries.create(
                replace(delivery, status=Status.RETRYING, id=delivery.id[:-4] + "0000")
            )
        assert len(logbook.page(webhook, DeliveryFilter(status), 10).deliveries) == found
    assert registry.delete(account, webhook_id)


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    with pytest.MonkeyPatch.context() as monkeypatch, backend(monkeypatch) as aws:
        yield observed(aws)


def observed(aws: Backend) -> Calls:
    calls = Calls()
    aws.observers.append(calls)
    manage_a_webhook(aws.services("api"))
    aws.observers.clear()
    return calls


def test_everything_that_the_api_does_is_allowed_to_its_role(calls: Calls) -> None:
    assert calls.made.keys() >= {
        ("WebhooksTable", "PutItem"),
        ("WebhooksTable", "UpdateItem"),
        ("WebhooksTable", "DeleteItem"),
        ("DeliveriesTable", "PutItem"),
        ("DeliveriesTable", "BatchGetItem"),
        ("DeliveriesTable/index/attention", "Query"),
        ("RetryStateMachine", "StartExecution"),
    }
    allowed = {
        (resource_name(resource), action.partition(":")[2])
        for statement in statements().values()
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert calls.made.keys() - allowed == set()


def test_a_call_about_webhooks_names_only_attributes_that_the_role_lets_through(
    calls: Calls,
) -> None:
    written: set[str] = set()
    for (name, operation), every in calls.made.items():
        if name != "WebhooksTable":
            continue
        sid = "ReadWebhooksWithoutSecrets" if operation in READS else "WriteWebhooksBlindly"
        condition = statements()[sid]["Condition"]["ForAllValues:StringEquals"]
        for parameters in every:
            names = named_attributes(parameters)
            assert names <= set(condition["dynamodb:Attributes"]), operation
            if operation in READS:
                assert parameters["ProjectionExpression"]
            else:
                written |= names
    assert written >= SECRETS


def test_a_write_of_a_webhook_has_nothing_handed_back(calls: Calls) -> None:
    writes = [
        parameters
        for (name, operation), every in calls.made.items()
        if name == "WebhooksTable" and operation not in READS
        for parameters in every
    ]
    assert len(writes) >= 7
    for parameters in writes:
        assert parameters.get("ReturnValues", "NONE") == "NONE"
        assert parameters.get("ReturnValuesOnConditionCheckFailure", "NONE") == "NONE"
