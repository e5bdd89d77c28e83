"""The template against the code and against the rules: the deployed settings are intended."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from api import dashboard_page
from local import template
from support.translated_template import properties, translated
from webhooks.adapters import aws
from webhooks.adapters.http.sender import TIMEOUT_SECONDS
from webhooks.domain.drain_rate import MAX_RATE
from webhooks.domain.resending import GIVES_UP_AFTER_MS
from webhooks.domain.retry import DEFAULT_SCHEDULE, parse_schedule
from webhooks.services.concurrency import SECONDS_FOR_ONE_ATTEMPT
from webhooks.services.jobs.erasure import SECONDS_FOR_A_BATCH
from webhooks.services.jobs.replay import SECONDS_FOR_A_STEP
from webhooks.settings import Settings

STATE_MACHINES = ("RetryStateMachine", "ShortRetryStateMachine", "JobStateMachine")

AWS_MAXIMUM_RETENTION_SECONDS = 14 * 86_400


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
        ("MaxEnablesPerHour", "max_enables_per_hour"),
        ("MaxErasuresPerDay", "max_erasures_per_day"),
        ("MaxCallsPerMinute", "max_calls_per_minute"),
        ("MaxEventsPerMinute", "max_events_per_minute"),
        ("MaxRequestsPerHost", "max_requests_per_host"),
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
    # A later attempt's read, its claim, and its result.
    assert properties("WorkerFunction")["Timeout"] >= 4 * call_seconds + 2 * TIMEOUT_SECONDS
    first = 2 * call_seconds + SECONDS_FOR_ONE_ATTEMPT
    assert properties("DispatcherFunction")["Timeout"] >= first + call_seconds


def test_a_message_stays_hidden_for_six_times_the_dispatchers_timeout() -> None:
    visibility = properties("EventsQueue")["VisibilityTimeout"]

    assert visibility >= 6 * properties("DispatcherFunction")["Timeout"]


def test_sqs_dead_letters_an_event_only_as_a_backstop() -> None:
    """Four days of receives, each hidden for six minutes: as long as the dispatcher goes on."""
    assert properties("EventsQueue")["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["EventsDeadLetterQueue", "Arn"]},
        "maxReceiveCount": 1000,
    }
    days = 1000 * properties("EventsQueue")["VisibilityTimeout"] / 86_400
    assert days > GIVES_UP_AFTER_MS / 86_400_000
    assert properties("EventsQueue")["MessageRetentionPeriod"] > GIVES_UP_AFTER_MS / 1000


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

    # Every other call has the default rate alone: that of the API.
    assert set(settings) == explicit
    for key, limits in settings.items():
        # JSON, in which CloudFormation would put a parameter as a string; both, since a setting
        # that a route leaves out does not come from the default ones.
        assert set(limits) == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}, key
        assert all(isinstance(limit, int) and limit > 0 for limit in limits.values()), key


def test_a_page_of_the_dashboard_is_within_the_rate_of_its_files() -> None:
    limits = properties("HttpApiApiGatewayDefaultStage")["RouteSettings"]["GET /dashboard/{file}"]
    at_once = len(dashboard_page.files()) - 1

    assert limits["ThrottlingBurstLimit"] >= 10 * at_once


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
    short = machine == "ShortRetryStateMachine"
    assert properties(machine)["StateMachineType"] == ("EXPRESS" if short else "STANDARD")


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


def test_the_monitoring_is_in_a_file_that_cloudformation_can_include() -> None:
    """AWS::Include takes no short form and no further include; AWS documents no alias for it."""
    including = template.TEMPLATE.read_text(encoding="utf-8")
    text = template.TEMPLATE.with_name("monitoring.yaml").read_text(encoding="utf-8")
    included = yaml.safe_load(text)
    assert not [event for event in yaml.parse(text) if isinstance(event, yaml.AliasEvent)]
    assert "Fn::Transform" not in text
    assert not included.keys() & set(re.findall(r"^  (\w+):$", including, re.MULTILINE))
    kinds = {resource["Type"] for resource in included.values()}
    assert kinds == {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Logs::QueryDefinition",
    }
    whole = template.read()["Resources"]
    assert included == {name: one for name, one in whole.items() if one["Type"] in kinds}


def test_what_a_template_includes_is_inserted_in_its_file(tmp_path: Path) -> None:
    for name in ("template.yaml", "monitoring.yaml"):
        shutil.copy(template.TEMPLATE.with_name(name), tmp_path)
    path = tmp_path / "template.yaml"
    whole = template.read(path)
    template.insert_includes(path)
    assert json.loads(path.read_text(encoding="utf-8")) == whole == template.read()
    assert "Fn::Transform" not in whole["Resources"]
    assert "cfn-lint" not in whole["Metadata"]


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
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+Alarm)$", page, re.MULTILINE)) == set(alarms)
