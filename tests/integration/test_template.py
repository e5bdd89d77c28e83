"""The template against the code and against the rules: what is deployed is what was meant."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer

from api import dashboard_page
from local import template
from support.former import without_former_names
from webhooks import wiring
from webhooks.adapters import aws, external_ids, items, job_items, webhook_items
from webhooks.adapters.api_keys import ACCOUNT_INDEX
from webhooks.adapters.dynamodb import SHOWN_ATTRIBUTES
from webhooks.adapters.http import TIMEOUT_SECONDS, GuardedSender
from webhooks.adapters.job_items import JobCodec
from webhooks.domain import targets
from webhooks.domain.pace import MAX_RATE
from webhooks.domain.rate_limit import RateLimit, RateLimitWindow
from webhooks.domain.retry import DEFAULT_SCHEDULE, parse_schedule
from webhooks.services.dispatcher import SECONDS_FOR_ONE_ATTEMPT
from webhooks.services.jobs.erasure import SECONDS_FOR_A_BATCH
from webhooks.services.jobs.replay import SECONDS_FOR_A_STEP
from webhooks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = {"ApiFunction": "api", "DispatcherFunction": "dispatcher", "WorkerFunction": "worker"}

EVERYTHING_ALLOWED = {
    (
        "EncryptionKey",
        "DelegateToIam",
    ): "a key policy's resource is always its own key, the account its root",
    ("RetryStateMachineRole", "DeliverLogs"): "CloudWatch's log delivery has no resources",
    ("JobStateMachineRole", "DeliverLogs"): "CloudWatch's log delivery has no resources",
    ("FunctionsTracing", "WriteTraces"): "X-Ray has no resources",
    ("StateMachinesTracing", "WriteTraces"): "X-Ray has no resources",
}
"""The statements that may say `*`, each with its reason."""

STATE_MACHINES = ("RetryStateMachine", "JobStateMachine")

SES_DETAIL_TYPES = {
    "send": "Email Sent",
    "delivery": "Email Delivered",
    "bounce": "Email Bounced",
    "complaint": "Email Complaint Received",
    "open": "Email Opened",
    "click": "Email Clicked",
    "deliveryDelay": "Email Delivery Delayed",
    "reject": "Email Rejected",
    "renderingFailure": "Email Rendering Failed",
    "subscription": "Email Subscribed",
}
"""What an event destination calls the types, and what EventBridge calls them (AWS's guides)."""

SECRETS = {"secret", "previous_secret", "previous_secret_expires_at"}

AWS_MAXIMUM_RETENTION_SECONDS = 14 * 86_400


@cache
def translated() -> dict[str, Any]:
    return without_former_names(template.load())


def properties(logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = translated()["Resources"][logical_id]["Properties"]
    return found


def statements(logical_id: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a role's own policies, by their ids."""
    return {
        statement["Sid"]: statement
        for policy in properties(logical_id)["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def every_allowed_statement() -> Iterator[tuple[str, dict[str, Any]]]:
    for logical_id, resource in translated()["Resources"].items():
        document = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in document.get("Policies", [])]
        documents += [
            document[name] for name in ("PolicyDocument", "KeyPolicy") if name in document
        ]
        for written in (one for policy in documents for one in policy["Statement"]):
            # One that a condition decides on has what it says where the condition holds.
            statement = written["Fn::If"][1] if "Fn::If" in written else written
            if statement["Effect"] == "Allow":
                yield logical_id, statement


class ReadNames(dict[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return default


def test_the_template_has_exactly_the_functions_of_the_code() -> None:
    assert set(template.of_type(translated(), "AWS::Lambda::Function")) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_names_a_handler_that_exists(function: str) -> None:
    module, _, name = properties(function)["Handler"].rpartition(".")

    assert module == f"{FUNCTIONS[function]}.handler"
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_role_and_a_log_group_of_its_own(function: str) -> None:
    role = properties(function)["Role"]["Fn::GetAtt"][0]
    logs = properties(function)["LoggingConfig"]["LogGroup"]["Ref"]
    others = [properties(other) for other in FUNCTIONS if other != function]

    assert all(role != other["Role"]["Fn::GetAtt"][0] for other in others)
    assert all(logs != other["LoggingConfig"]["LogGroup"]["Ref"] for other in others)
    assert statements(role)["WriteLogs"]["Resource"] == {"Fn::GetAtt": [logs, "Arn"]}


def test_every_log_group_forgets() -> None:
    groups = template.of_type(translated(), "AWS::Logs::LogGroup")

    assert len(groups) == len(FUNCTIONS) + 3  # the HTTP API's and the two state machines'
    for name, group in groups.items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_given_only_variables_that_the_settings_read(function: str) -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    given = properties(function)["Environment"]["Variables"]

    # RES_OPTIONS is the C library's: it bounds a silent name server.
    assert set(given) - {"RES_OPTIONS"} <= asked.names


@pytest.mark.parametrize("function", ["DispatcherFunction", "WorkerFunction"])
def test_the_functions_that_look_names_up_bound_a_silent_name_server(function: str) -> None:
    options = properties(function)["Environment"]["Variables"]["RES_OPTIONS"]

    assert options == "timeout:1 attempts:2"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_deployed_function_cannot_be_pointed_at_another_endpoint(function: str) -> None:
    variables = properties(function)["Environment"]["Variables"]

    assert variables["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}


def test_no_variable_parameter_or_setting_has_a_say_in_the_address_rule() -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    given = {name for f in FUNCTIONS for name in properties(f)["Environment"]["Variables"]}
    words = re.compile(r"allow|guard|private|public|insecure|verify|loopback|sender", re.IGNORECASE)

    named = asked.names | given | set(translated()["Parameters"])
    assert [name for name in sorted(named) if words.search(name)] == []


def test_a_deployed_function_has_the_public_rules_whatever_its_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ReadNames()
    Settings.from_environment(asked)
    for name in asked.names:
        monkeypatch.setenv(name, "1")

    for function in FUNCTIONS.values():
        sender = wiring.services.__wrapped__(function)._sender
        assert isinstance(sender, GuardedSender)
        assert sender._check is targets.parse_url
        assert sender._guard._dialer._allowed is targets.is_public
        assert sender._timeout_seconds == TIMEOUT_SECONDS


def test_nothing_but_the_wiring_reads_the_environment() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("layers", "functions") for path in (root / folder).rglob("*.py")]
    reading = re.compile(r"\bos\.(environ|getenv)|import .*\b(environ|getenv)\b")

    assert len(sources) > 80
    assert [path.parent.name for path in sources if reading.search(path.read_text("utf-8"))] == [
        "wiring"
    ]


def test_the_default_schedule_is_the_contracts() -> None:
    default = translated()["Parameters"]["RetrySchedule"]["Default"]

    assert parse_schedule(default) == DEFAULT_SCHEDULE


@pytest.mark.parametrize("text", ["5", "1,2,3", "5,300,1800,7200,18000,36000", "9999999"])
def test_the_schedules_pattern_takes_what_the_code_takes(text: str) -> None:
    assert parse_schedule(text)
    assert (
        template.load(parameters={"RetrySchedule": text})["Parameters"]["RetrySchedule"]["Default"]
        == text
    )


@pytest.mark.parametrize(
    "text", ["", "5;300", "5,,300", "-1", "0.5,1", "five", "5, 300", "1e3", "31536001"]
)
def test_the_schedules_pattern_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="delays in whole seconds"):
        template.load(parameters={"RetrySchedule": text})


@pytest.mark.parametrize(
    ("name", "value"), [("Stage", "staging"), ("Architecture", "mips"), ("Colour", "blue")]
)
def test_a_parameter_that_the_template_does_not_allow_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        template.load(parameters={name: value})


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        ("RetentionDays", "retention_days"),
        ("MaxWebhooksPerAccount", "max_webhooks_per_account"),
        ("ReplayRate", "replay_rate"),
        ("MaxReplaysPerDay", "max_replays_per_day"),
        ("MaxWebhooksPerHost", "max_webhooks_per_host"),
        ("MaxTestsPerHour", "max_tests_per_hour"),
        ("MaxResendsPerHour", "max_resends_per_hour"),
        ("MaxErasuresPerDay", "max_erasures_per_day"),
        ("MaxCallsPerMinute", "max_calls_per_minute"),
        ("DefaultAccountId", "default_account_id"),
    ],
)
def test_a_parameters_default_is_the_settings_default(parameter: str, field: str) -> None:
    assert translated()["Parameters"][parameter]["Default"] == getattr(Settings(), field)


def test_a_delivery_outlives_the_dead_letter_that_names_it() -> None:
    least_days = translated()["Parameters"]["RetentionDays"]["MinValue"]

    for queue in ("EventsDeadLetterQueue", "DeadLetterQueue"):
        kept = properties(queue)["MessageRetentionPeriod"]
        assert kept == AWS_MAXIMUM_RETENTION_SECONDS, queue
        assert kept < least_days * 86_400, queue


def test_each_function_outlives_its_slowest_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = aws.client("dynamodb", "http://127.0.0.1:1").meta.config
    tries = config.retries["total_max_attempts"]
    call_seconds = tries * (config.connect_timeout + config.read_timeout)

    assert call_seconds == 9
    assert properties("ApiFunction")["Timeout"] >= 3 * call_seconds
    assert properties("WorkerFunction")["Timeout"] >= 3 * call_seconds + 2 * TIMEOUT_SECONDS
    first = 2 * call_seconds + SECONDS_FOR_ONE_ATTEMPT
    assert properties("DispatcherFunction")["Timeout"] >= first + call_seconds


def test_a_message_stays_hidden_for_six_times_the_dispatchers_timeout() -> None:
    visibility = properties("EventsQueue")["VisibilityTimeout"]

    assert visibility >= 6 * properties("DispatcherFunction")["Timeout"]


def test_an_event_is_received_five_times_before_it_is_dead_lettered() -> None:
    assert properties("EventsQueue")["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]},
        "maxReceiveCount": 5,
    }


def test_every_queue_is_encrypted_and_polled_long() -> None:
    queues = template.of_type(translated(), "AWS::SQS::Queue")

    assert set(queues) == {"EventsQueue", "EventsDeadLetterQueue", "DeadLetterQueue"}
    for name, queue in queues.items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True, name
        assert queue["Properties"]["ReceiveMessageWaitTimeSeconds"] == 20, name


def test_the_mapping_reports_the_items_that_failed_and_is_bounded() -> None:
    (mapping,) = template.of_type(translated(), "AWS::Lambda::EventSourceMapping").values()

    assert mapping["Properties"] == {
        "EventSourceArn": {"Fn::GetAtt": ["EventsQueue", "Arn"]},
        "FunctionName": {"Ref": "DispatcherFunction"},
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": {"Ref": "DispatcherConcurrency"}},
    }


def test_the_api_is_throttled_and_takes_every_route() -> None:
    stage = properties("HttpApiApiGatewayDefaultStage")
    routes = {(route.method, route.path) for route in template.routes(template.read())}

    assert stage["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": {"Ref": "ApiRate"},
        "ThrottlingBurstLimit": {"Ref": "ApiBurst"},
    }
    assert {("ANY", "/{proxy+}"), ("ANY", "/")} < routes


def test_each_route_that_needs_no_key_has_a_rate_of_its_own() -> None:
    explicit = {
        f"{route.method} {route.path}"
        for route in template.routes(template.read())
        if route.method != "ANY"
    }
    settings = properties("HttpApiApiGatewayDefaultStage")["RouteSettings"]

    # Whatever else is called, by whomever, has the default rate alone: that of the API.
    assert set(settings) == explicit
    for key, limits in settings.items():
        # JSON, in which CloudFormation would put a parameter as a string; both, since what a
        # route's settings leave out is not taken from the default ones.
        assert set(limits) == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}, key
        assert all(isinstance(limit, int) and limit > 0 for limit in limits.values()), key


def test_a_page_of_the_dashboard_is_within_the_rate_of_its_files() -> None:
    limits = properties("HttpApiApiGatewayDefaultStage")["RouteSettings"]["GET /dashboard/{file}"]
    at_once = len(dashboard_page.files()) - 1

    assert limits["ThrottlingBurstLimit"] >= 10 * at_once


def test_the_functions_resource_policies_stay_far_below_lambdas_limit() -> None:
    """20 KB a function, of which `AddPermission` says when it is too late (Lambda's quotas)."""
    policies: dict[str, list[str]] = {}
    for logical_id, resource in template.of_type(translated(), "AWS::Lambda::Permission").items():
        permission = resource["Properties"]
        function = permission["FunctionName"]["Ref"]
        policies.setdefault(function, []).append(policy_statement(logical_id, permission))

    sizes = {name: sum(map(len, statements)) for name, statements in policies.items()}
    assert sizes["ApiFunction"] > 6 * 400
    assert max(sizes.values()) < 20 * 1024 / 4


def policy_statement(logical_id: str, permission: dict[str, Any]) -> str:
    """Return a permission as a function's policy has it, with names as long as they may be."""
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


def test_every_table_is_on_demand_encrypted_with_the_stacks_key_and_recoverable() -> None:
    tables = template.of_type(translated(), "AWS::DynamoDB::Table")

    assert len(tables) == 4
    for name, table in tables.items():
        settings = table["Properties"]
        assert settings["BillingMode"] == "PAY_PER_REQUEST", name
        assert settings["SSESpecification"]["KMSMasterKeyId"] == {
            "Fn::GetAtt": ["EncryptionKey", "Arn"]
        }
        assert settings["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_what_customers_own_outlives_the_stack_and_so_does_its_key() -> None:
    for name in ("WebhooksTable", "DeliveriesTable", "ApiKeysTable", "EncryptionKey"):
        resource = translated()["Resources"][name]
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name


def test_a_table_is_protected_where_it_is_kept_and_else_goes_with_its_stack() -> None:
    for name, table in template.of_type(translated(), "AWS::DynamoDB::Table").items():
        kept = table["DeletionPolicy"] == "RetainExceptOnCreate"
        protected = {"Fn::If": ["IsProd", True, False]} if kept else None
        assert table["Properties"].get("DeletionProtectionEnabled") == protected, name


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_a_state_machine_logs_errors_without_what_it_works_on(machine: str) -> None:
    logging = properties(machine)["LoggingConfiguration"]

    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
    assert properties(machine)["StateMachineType"] == "STANDARD"


@pytest.mark.parametrize("machine", STATE_MACHINES)
def test_the_worker_is_ended_by_lambda_before_the_state_machine_loses_patience(
    machine: str,
) -> None:
    resource = translated()["Resources"][machine]
    states = json.loads(template.definition(resource, {}))["States"].values()
    tasks = [state for state in states if state.get("Resource") == "${WorkerFunctionArn}"]

    assert tasks
    for task in tasks:
        assert task["TimeoutSeconds"] > properties("WorkerFunction")["Timeout"]


def test_the_worker_has_the_time_that_a_replays_step_takes() -> None:
    assert properties("WorkerFunction")["Timeout"] > max(SECONDS_FOR_A_STEP, SECONDS_FOR_A_BATCH)
    assert translated()["Parameters"]["ReplayRate"]["MaxValue"] == MAX_RATE


def test_the_api_removes_nothing_beside_the_deliveries_but_the_marks_of_replays() -> None:
    removing = {
        statement["Sid"]: statement
        for statement in statements("ApiRole").values()
        if {"Fn::GetAtt": ["DeliveriesTable", "Arn"]} in listed(statement["Resource"])
        and "dynamodb:DeleteItem" in listed(statement["Action"])
    }

    assert list(removing) == ["EndReplays"]
    condition = removing["EndReplays"]["Condition"]
    owner = items.job_key("replay", "acc_1", "w", "r")["owner"]["S"]
    assert condition == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "*#replay"}}
    assert owner.endswith("#replay")
    assert not items.owner("acc_1", "w").endswith("#replay")


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
        ("ApiRole", "CountRateLimits"): f"*{items.RATE_LIMITS}",
        ("WorkerRole", "RecordJobs"): [f"*#{kind}" for kind in kinds],
        ("WorkerRole", "EndReplays"): "*#replay",
    }
    assert [each for each in kinds if each == "replay"], "a replay is the kind that is removed"
    counted = items.rate_limit_key(RateLimitWindow("acc_1", "w", RateLimit.TESTS, 1))["owner"]["S"]
    assert counted.endswith(items.RATE_LIMITS)
    for kind in kinds:
        assert items.job_key(kind, "acc_1", "w", "j")["owner"]["S"].endswith(f"#{kind}")


def test_the_worker_lists_an_accounts_webhooks_by_nothing_but_their_ids() -> None:
    condition = statements("WorkerRole")["ListWebhookIds"]["Condition"]

    assert condition == {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["account_id", "webhook_id"]},
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    }


def test_the_job_state_machine_may_start_only_itself() -> None:
    policy = properties("JobStateMachineContinuation")

    assert policy["Roles"] == [{"Ref": "JobStateMachineRole"}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "states:StartExecution"
    assert statement["Resource"] == {"Ref": "JobStateMachine"}


def test_ses_is_connected_only_where_that_was_asked_for() -> None:
    names = ("SesConfigurationSet", "SesEventDestination", "SesRule")
    conditions = {translated()["Resources"][name]["Condition"] for name in names}
    conditions.add(translated()["Outputs"]["SesConfigurationSetName"]["Condition"])

    assert conditions == {"ConnectsSes"}
    assert translated()["Conditions"]["ConnectsSes"] == {
        "Fn::Equals": [{"Ref": "ConnectSes"}, "true"]
    }
    assert translated()["Parameters"]["ConnectSes"]["Default"] == "false"


def test_ses_publishes_every_type_and_the_rule_takes_each_of_them() -> None:
    destination = properties("SesEventDestination")
    assert destination["ConfigurationSetName"] == {"Ref": "SesConfigurationSet"}
    published = destination["EventDestination"]
    assert published["Enabled"] is True
    assert set(published["MatchingEventTypes"]) == set(SES_DETAIL_TYPES)
    bus = published["EventBridgeDestination"]["EventBusArn"]["Fn::Sub"]
    assert bus.endswith(":event-bus/default")
    rule = properties("SesRule")
    assert rule["EventPattern"]["source"] == ["aws.ses"]
    assert set(rule["EventPattern"]["detail-type"]) == set(SES_DETAIL_TYPES.values())
    assert "EventBusName" not in rule


@pytest.mark.parametrize("text", ["", "X-Order-Id", "X-Order-Id,List-Id", ",".join(["A"] * 20)])
def test_the_pattern_of_headers_takes_names(text: str) -> None:
    pattern = translated()["Parameters"]["SesHeaders"]["AllowedPattern"]
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("text", ["X Order", "X:Order", ",", "A,", "A, B", "É", ",".join("A" * 21)])
def test_the_pattern_of_headers_takes_nothing_else(text: str) -> None:
    pattern = translated()["Parameters"]["SesHeaders"]["AllowedPattern"]
    assert not re.fullmatch(pattern, text)


def test_the_rule_for_ses_goes_by_the_configuration_sets_of_this_stack() -> None:
    assert properties("SesConfigurationSet")["Name"] == {"Ref": "AWS::StackName"}
    own, others = properties("SesRule")["EventPattern"]["resources"]

    assert own["Fn::Sub"].endswith(":configuration-set/${AWS::StackName}")
    # Without the underscore the stack `mail` would take what is for the stack `mail-dev`.
    assert others == {"prefix": {"Fn::Sub": own["Fn::Sub"] + "_"}}


def test_what_the_rule_for_ses_cannot_send_waits_with_the_rejected_events() -> None:
    [target] = properties("SesRule")["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["EventsQueue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]}}
    allowed = {statement["Sid"]: statement for _, statement in every_allowed_statement()}
    statement = allowed["SesRuleDeadLetters"]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["SesRule", "Arn"]}}
    }


def test_only_the_stacks_own_rule_may_publish_where_ses_is_connected() -> None:
    allowed = {statement["Sid"]: statement for _, statement in every_allowed_statement()}
    statement = allowed["PublishSesEvents"]
    condition, services, otherwise = statement["Principal"]["Service"]["Fn::If"]
    assert (condition, services) == ("ConnectsSes", ["events.amazonaws.com"])
    assert otherwise == ["sns.amazonaws.com", "events.amazonaws.com"]
    condition, sources, otherwise = statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::If"]

    assert (condition, sources) == ("ConnectsSes", [{"Fn::GetAtt": ["SesRule", "Arn"]}])
    assert all(":${AWS::AccountId}:" in source["Fn::Sub"] for source in otherwise)


def test_an_alarm_is_made_only_where_there_is_somebody_to_tell() -> None:
    alarms = template.of_type(translated(), "AWS::CloudWatch::Alarm")

    assert alarms
    for name, alarm in alarms.items():
        assert alarm["Condition"] == "HasAlarms", name


@pytest.mark.parametrize("form", ["as written", "as CloudFormation runs it"])
def test_cfn_lint_has_nothing_to_say(form: str, tmp_path: Path) -> None:
    path = template.TEMPLATE
    if form != "as written":
        path = tmp_path / "transformed.json"
        path.write_text(json.dumps(template.load()), encoding="utf-8")

    linter = Path(sys.executable).with_name("cfn-lint")
    result = subprocess.run([linter, path], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (0, "")


def test_every_alarm_has_an_answer_in_the_page_about_operations() -> None:
    alarms = template.of_type(translated(), "AWS::CloudWatch::Alarm")
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+Alarm)$", page, re.MULTILINE)) == set(alarms)
