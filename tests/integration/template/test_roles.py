"""The real calls of each function and state machine, against its role: all allowed, none unused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.template.invocations import InvocationFixture
from integration.template.scenarios import SCENARIOS
from local import template
from support.backend import backend
from support.policies import Call, Statement, arn, loaded, role_of, roles, statements
from support.recorded_calls import Recorder, made_by_aws, made_by_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = sorted(template.of_type(loaded(), "AWS::Lambda::Function"))
MACHINES = sorted(template.of_type(loaded(), "AWS::StepFunctions::StateMachine"))
# The fixture performs every act, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)
SECRETS = {"secret", "previous_secret", "previous_secret_expires_at"}


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with pytest.MonkeyPatch.context() as patch, backend(patch) as aws:
        recorder = Recorder(aws)
        for scenario in SCENARIOS:
            scenario(InvocationFixture(aws, recorder))
        yield recorder


def calls_of(owner: str, recorder: Recorder) -> list[Call]:
    if owner in MACHINES:
        return list(made_by_machine(owner))
    made = recorder.calls[owner]
    return [*made, *made_by_aws(owner, made)]


def test_every_role_is_of_one_function_or_state_machine() -> None:
    owners = [role_of(name) for name in (*FUNCTIONS, *MACHINES)]
    assert len(owners) == len(set(owners))
    assert set(owners) == roles()


@pytest.mark.parametrize("owner", [*FUNCTIONS, *MACHINES])
def test_every_call_is_allowed_by_its_functions_role(owner: str, recorder: Recorder) -> None:
    allowed = statements(role_of(owner))
    calls = calls_of(owner, recorder)
    assert calls
    refused = [call for call in calls if not any(one.allows(call) for one in allowed)]
    assert refused == []


@pytest.mark.parametrize("owner", [*FUNCTIONS, *MACHINES])
def test_every_allowed_action_is_used_and_allowed_once(owner: str, recorder: Recorder) -> None:
    granted = [
        Statement(one.role, one.sid, (action,), (resource,), one.conditions)
        for one in statements(role_of(owner))
        for action, resource in one.grants()
    ]
    needed = set()
    for call in calls_of(owner, recorder):
        allowing = [grant for grant in granted if grant.allows(call)]
        needed |= {allowing[0].key} if len(allowing) == 1 else set()
    assert {grant.key for grant in granted} - needed == set()


def test_the_api_names_every_secret_when_it_writes_and_none_when_it_reads(
    recorder: Recorder,
) -> None:
    reads: set[str] = set()
    writes: set[str] = set()
    for call in recorder.calls["ApiFunction"]:
        if call.resource.startswith(arn("WebhooksTable")):
            names = call.context["dynamodb:Attributes"]
            (reads if "dynamodb:Select" in call.context else writes).update(names)
    assert writes >= SECRETS
    assert not reads & SECRETS


def test_a_write_of_a_webhook_hands_the_api_nothing_back(recorder: Recorder) -> None:
    writes = [
        inner
        for operation, parameters in recorder.raw["ApiFunction"]
        for inner in (
            [next(iter(item.values())) for item in parameters["TransactItems"]]
            if "TransactItems" in parameters
            else [parameters]
        )
        if inner.get("TableName") == "WebhooksTable" and operation not in {"GetItem", "Query"}
    ]
    assert len(writes) >= 7
    for write in writes:
        assert write.get("ReturnValues", "NONE") == "NONE"
        assert write.get("ReturnValuesOnConditionCheckFailure", "NONE") == "NONE"


WEBHOOKS = "arn:aws:dynamodb:us-east-1:123456789012:table/WebhooksTable"
READ = {
    "dynamodb:LeadingKeys": frozenset({"acc_1"}),
    "dynamodb:Attributes": frozenset({"account_id", "url"}),
    "dynamodb:Select": frozenset({"SPECIFIC_ATTRIBUTES"}),
}


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (Call("dynamodb:GetItem", WEBHOOKS, READ), True),
        (Call("dynamodb:Scan", WEBHOOKS, READ), False),
        (Call("dynamodb:GetItem", f"{WEBHOOKS}2", READ), False),
        (Call("dynamodb:GetItem", f"{WEBHOOKS}/index/recovering", READ), False),
        (
            Call(
                "dynamodb:GetItem",
                WEBHOOKS,
                {**READ, "dynamodb:Attributes": frozenset({"secret"})},
            ),
            False,
        ),
        (
            Call(
                "dynamodb:GetItem",
                WEBHOOKS,
                {**READ, "dynamodb:Select": frozenset({"ALL_ATTRIBUTES"})},
            ),
            False,
        ),
        # For the case that AWS sends no such key for a read that names no attributes.
        (Call("dynamodb:GetItem", WEBHOOKS, {"dynamodb:LeadingKeys": frozenset({"acc_1"})}), False),
        (
            Call(
                "dynamodb:UpdateItem",
                WEBHOOKS,
                {**READ, "dynamodb:ReturnValues": frozenset({"ALL_NEW"})},
            ),
            False,
        ),
        (
            Call("dynamodb:UpdateItem", WEBHOOKS, {"dynamodb:Attributes": frozenset(SECRETS)}),
            True,
        ),
        # `SET description = secret`, and the description may be read.
        (
            Call(
                "dynamodb:UpdateItem",
                WEBHOOKS,
                {"dynamodb:Attributes": frozenset({"account_id", "description", "secret"})},
            ),
            False,
        ),
        (
            Call(
                "dynamodb:DeleteItem",
                WEBHOOKS,
                {"dynamodb:Attributes": frozenset({"account_id", "secret"})},
            ),
            False,
        ),
        (Call("kms:Decrypt", arn("EncryptionKey")), False),
        (Call("states:StartExecution", arn("RetryStateMachine")), True),
        (Call("sqs:SendMessage", arn("EventsDeadLetterQueue")), False),
    ],
)
def test_the_api_is_allowed_this_and_refused_that(call: Call, allowed: bool) -> None:
    assert any(one.allows(call) for one in statements("ApiRole")) is allowed


OURS = "sendcomms.webhooks"


@pytest.mark.parametrize(
    ("context", "allowed"),
    [
        ({"events:source": frozenset({OURS})}, True),
        ({"events:source": frozenset({OURS, "aws.ses"})}, False),
        ({"events:source": frozenset({"aws.ses"})}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("role", ["DispatcherRole", "WorkerRole"])
def test_events_are_published_under_our_source_alone(
    role: str, context: dict[str, frozenset[str]], allowed: bool
) -> None:
    bus = "arn:aws:events:us-east-1:123456789012:event-bus/default"
    call = Call("events:PutEvents", bus, context)
    assert any(one.allows(call) for one in statements(role)) is allowed
