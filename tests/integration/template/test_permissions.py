"""The template's roles and policies: each allows the code's calls and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer

from local import template
from support.condition_keys import GLOBAL_KEYS, complaints, types
from support.translated_template import (
    every_allowed_statement,
    every_statement,
    listed,
    properties,
    statements,
    translated,
    used_condition_keys,
)
from webhooks.adapters.dynamodb import external_ids, item_keys, job_items, webhook_items
from webhooks.adapters.dynamodb.api_keys import ACCOUNT_INDEX
from webhooks.adapters.dynamodb.job_items import JobCodec
from webhooks.adapters.dynamodb.webhooks import SHOWN_ATTRIBUTES
from webhooks.domain.rate_limit import RateLimit, RateLimitWindow

EVERYTHING_ALLOWED = {
    (
        "EncryptionKey",
        "DelegateToIam",
    ): "a key policy's resource is always its own key, the account its root",
    ("RetryStateMachineRole", "DeliverLogs"): "CloudWatch's log delivery has no resources",
    ("ShortRetryStateMachineRole", "DeliverLogs"): "CloudWatch's log delivery has no resources",
    ("JobStateMachineRole", "DeliverLogs"): "CloudWatch's log delivery has no resources",
    ("ApiRole", "WriteTraces"): "X-Ray has no resources",
    ("DispatcherRole", "WriteTraces"): "X-Ray has no resources",
    ("WorkerRole", "WriteTraces"): "X-Ray has no resources",
    ("RetryStateMachineRole", "WriteTraces"): "X-Ray has no resources",
    ("ShortRetryStateMachineRole", "WriteTraces"): "X-Ray has no resources",
    ("JobStateMachineRole", "WriteTraces"): "X-Ray has no resources",
}
"""The statements that may say `*`, each with its reason."""

SECRETS = {"secret", "previous_secret", "previous_secret_expires_at"}


def test_the_functions_resource_policies_stay_far_below_lambdas_limit() -> None:
    """20 KB a function; `AddPermission` fails only when it is too late (Lambda's quotas)."""
    policies: dict[str, list[str]] = {}
    for logical_id, resource in template.of_type(translated(), "AWS::Lambda::Permission").items():
        permission = resource["Properties"]
        function = permission["FunctionName"]["Ref"]
        policies.setdefault(function, []).append(policy_statement(logical_id, permission))

    sizes = {name: sum(map(len, statements)) for name, statements in policies.items()}
    assert sizes["ApiFunction"] > 6 * 400
    assert max(sizes.values()) < 20 * 1024 / 4


def policy_statement(logical_id: str, permission: dict[str, Any]) -> str:
    """Return a permission in the form of a function's policy, with names of the greatest length."""
    stack = "s" * 128
    arn = json.dumps(permission["SourceArn"])
    for pattern, value in (
        (r"\$\{AWS::Region\}", "ap-southeast-99"),
        (r"\$\{AWS::AccountId\}", "1" * 12),
        (r"\$\{AWS::Partition\}", "aws-us-gov"),
        (r"\$\{__ApiId__\}", "a" * 10),
    ):
        arn = re.sub(pattern, value, arn)
    return json.dumps(
        {
            "Sid": f"{stack}-{logical_id}-{'A' * 13}",
            "Effect": "Allow",
            "Principal": {"Service": permission["Principal"]},
            "Action": permission["Action"],
            "Resource": f"arn:aws-us-gov:lambda:ap-southeast-99:{'1' * 12}:function:{'f' * 64}",
            "Condition": {"ArnLike": {"AWS:SourceArn": arn}},
        }
    )


def test_nothing_is_allowed_everything_but_where_aws_leaves_no_choice() -> None:
    wide = {
        (logical_id, statement["Sid"])
        for logical_id, statement in every_allowed_statement()
        if any("*" in action for action in listed(statement["Action"]))
        or "*" in listed(statement["Resource"])
    }

    assert wide == set(EVERYTHING_ALLOWED)


def test_no_role_has_a_policy_that_somebody_else_can_change() -> None:
    for name, role in template.of_type(translated(), "AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role["Properties"], name


def test_every_condition_has_an_operator_that_fits_its_keys_type() -> None:
    statements = list(every_statement(template.load()))
    assert sum("Condition" in statement for _, statement in statements) > 15
    wrong = [
        (logical_id, statement.get("Sid"), complaint)
        for logical_id, statement in statements
        for complaint in complaints(statement)
    ]
    assert wrong == []


def test_the_types_are_those_of_the_keys_that_are_used() -> None:
    assert set(types()) == used_condition_keys() | set(GLOBAL_KEYS)
    assert types()["events:source"] == types()["dynamodb:Attributes"] == "ArrayOfString"


SOURCE = {"events:source": "sendcomms.webhooks"}
SENT = {"Null": {"events:source": "false"}}


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ({"StringEquals": SOURCE}, "StringEquals on events:source, whose type is ArrayOfString"),
        ({"ForAllValues:StringEquals": SOURCE}, "allows a call without the key"),
        ({"ForAllValues:StringEquals": SOURCE, **SENT}, None),
        ({"ForAnyValue:StringEquals": SOURCE}, "of which one value fits"),
        ({"ForAllValues:StringLike": {"kms:ViaService": "x"}}, "whose type is String"),
        ({"ForAllValues:ArnLike": {"aws:SourceArn": "x"}}, "whose type is ARN"),
        ({"StringEquals": {"events:sauce": "x"}}, "events:sauce is not in"),
    ],
)
def test_an_operator_that_does_not_fit_is_refused(condition: Any, complaint: str | None) -> None:
    statement = {"Effect": "Allow", "Action": "events:PutEvents", "Condition": condition}
    found = " ".join(complaints(statement))
    assert (complaint in found) if complaint else found == ""


def test_only_the_functions_that_sign_may_read_secrets() -> None:
    readers = {
        (logical_id, statement["Sid"])
        for logical_id, statement in every_allowed_statement()
        if {"Fn::GetAtt": ["WebhooksTable", "Arn"]} in listed(statement["Resource"])
        and {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:BatchGetItem", "dynamodb:Scan"}
        & set(listed(statement["Action"]))
        and "Condition" not in statement
    }

    assert readers == {
        ("DispatcherRole", "ReadWebhooksAndUpdateHealth"),
        ("WorkerRole", "ReadWebhookAndUpdateHealth"),
    }


def test_the_api_reads_exactly_the_attributes_that_its_store_asks_for() -> None:
    condition = statements("ApiRole")["ReadWebhooksWithoutSecrets"]["Condition"]

    assert condition == {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": list(SHOWN_ATTRIBUTES)},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
        "Null": {"dynamodb:Attributes": "false"},
    }
    assert not SECRETS & set(SHOWN_ATTRIBUTES)


def test_the_api_writes_secrets_without_having_them_handed_back() -> None:
    named: dict[str, set[str]] = {}
    for sid, statement in statements("ApiRole").items():
        actions = set(listed(statement["Action"]))
        if statement["Resource"] != {"Fn::GetAtt": ["WebhooksTable", "Arn"]}:
            continue
        if not actions & {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}:
            continue
        condition = statement["Condition"]
        assert condition["StringEqualsIfExists"] == {"dynamodb:ReturnValues": "NONE"}, sid
        assert not [action for action in actions if re.search("Get|Query|Scan", action)], sid
        named[sid] = set(condition["ForAllValues:StringEquals"]["dynamodb:Attributes"])

    assert set().union(*named.values()) == {
        *SHOWN_ATTRIBUTES,
        *SECRETS,
        *webhook_items.FAILURE_ATTRIBUTES,
        *webhook_items.WINDOW_ATTRIBUTES,
        webhook_items.TARGET_CHANGED,
        *webhook_items.RECOVERY_ATTRIBUTES,
        "webhook_count",
        external_ids.HELD_BY,
    }
    assert {sid for sid, names in named.items() if names & SECRETS} == {
        "RegisterWebhooks",
        "RotateSecretsWithoutReading",
    }


def test_no_update_of_the_apis_can_copy_a_secret_to_where_it_may_read_it() -> None:
    readable = {*SHOWN_ATTRIBUTES, external_ids.HELD_BY}
    key = {"account_id", "webhook_id"}
    updates = [
        set(statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"])
        for statement in statements("ApiRole").values()
        if statement["Resource"] == {"Fn::GetAtt": ["WebhooksTable", "Arn"]}
        and "dynamodb:UpdateItem" in listed(statement["Action"])
    ]

    assert len(updates) == 2
    # An update cannot change an item's key.
    assert [names for names in updates if names & SECRETS and names & readable - key] == []


def test_the_api_lists_keys_through_the_index_and_never_scans() -> None:
    listing = statements("ApiRole")["ListApiKeys"]
    assert (listing["Action"], listing["Resource"]) == (
        "dynamodb:Query",
        {"Fn::Sub": f"${{ApiKeysTable.Arn}}/index/{ACCOUNT_INDEX}"},
    )
    [index] = properties("ApiKeysTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == ACCOUNT_INDEX
    scanning = [
        name
        for name, statement in every_allowed_statement()
        if "dynamodb:Scan" in listed(statement["Action"])
    ]
    assert scanning == []


def test_kept_answers_may_be_what_powertools_writes_and_go_after_a_day() -> None:
    statement = statements("ApiRole")["StoreIdempotentResponses"]
    table = properties("IdempotencyTable")

    assert statement["Resource"] == {"Fn::GetAtt": ["IdempotencyTable", "Arn"]}
    assert set(statement["Action"]) == {
        f"dynamodb:{action}Item" for action in ("Put", "Update", "Delete")
    }
    layer = DynamoDBPersistenceLayer("table", boto3_client=boto3.client("dynamodb", "us-east-1"))
    assert table["KeySchema"] == [{"AttributeName": layer.key_attr, "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"]["AttributeName"] == layer.expiry_attr


def test_the_api_removes_nothing_beside_the_deliveries_but_the_marks_of_replays() -> None:
    removing = {
        statement["Sid"]: statement
        for statement in statements("ApiRole").values()
        if {"Fn::GetAtt": ["DeliveriesTable", "Arn"]} in listed(statement["Resource"])
        and "dynamodb:DeleteItem" in listed(statement["Action"])
    }

    assert list(removing) == ["EndReplays"]
    condition = removing["EndReplays"]["Condition"]
    owner = item_keys.job_key("replay", "acc_1", "w", "r")["owner"]["S"]
    assert condition == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "*#replay"}}
    assert owner.endswith("#replay")
    assert not item_keys.owner("acc_1", "w").endswith("#replay")


def test_a_role_that_is_bound_to_partitions_names_those_that_the_keys_have() -> None:
    bound = {
        (role, sid): statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for role in ("ApiRole", "WorkerRole")
        for sid, statement in statements(role).items()
        if "ForAllValues:StringLike" in statement.get("Condition", {})
    }

    kinds = [each.kind for each in vars(job_items).values() if isinstance(each, JobCodec)]
    assert bound == {
        ("ApiRole", "EndReplays"): "*#replay",
        ("ApiRole", "CountRateLimits"): f"*{item_keys.RATE_LIMITS}",
        ("WorkerRole", "RecordJobs"): [f"*#{kind}" for kind in kinds],
        ("WorkerRole", "EndReplays"): "*#replay",
    }
    assert [each for each in kinds if each == "replay"], "a replay is the kind that is removed"
    counted = item_keys.rate_limit_key(RateLimitWindow("acc_1", "w", RateLimit.TESTS, 1))["owner"][
        "S"
    ]
    assert counted.endswith(item_keys.RATE_LIMITS)
    for kind in kinds:
        assert item_keys.job_key(kind, "acc_1", "w", "j")["owner"]["S"].endswith(f"#{kind}")


def test_the_worker_lists_an_accounts_webhooks_by_nothing_but_their_ids() -> None:
    condition = statements("WorkerRole")["ListWebhookIds"]["Condition"]

    assert condition == {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["account_id", "webhook_id"]},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
        "Null": {"dynamodb:Attributes": "false"},
    }


def test_the_job_state_machine_may_start_only_itself() -> None:
    policy = properties("JobStateMachineContinuation")

    assert policy["Roles"] == [{"Ref": "JobStateMachineRole"}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "states:StartExecution"
    assert statement["Resource"] == {"Ref": "JobStateMachine"}
