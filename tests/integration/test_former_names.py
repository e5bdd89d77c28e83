"""Executions of the version before, run to their ends by this one.

That version called the worker `RetrierFunction`, its jobs' state machine `RecoveryStateMachine` and
the error that is tried again for hours `Unavailable`. What it stored is read too.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

import retrier.handler
import worker.handler
from local import resources, template
from local.aws import aws_client, aws_server, invoking
from local.functions import LocalFunction
from local.serving import listen
from support import samples
from support.backend import LOOPBACK, lambda_context
from support.faults import SDK_TRIES, Faults, refused
from support.receiver import Answer, Receiver
from support.state_machines import StateMachine, hurried
from support.walks import walked
from webhooks.adapters import items
from webhooks.adapters.delivery_items import delivery_item, read_delivery
from webhooks.adapters.dynamodb import DynamoDBWebhookStore
from webhooks.adapters.job_items import CHECKS
from webhooks.adapters.jobs import DynamoDBJobStore
from webhooks.domain.delivery import FailureReason, Outcome, Status, delivery_id
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, RecoveryKey
from webhooks.domain.jobs.check import Check, CheckStatus, Probe, check_id
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus, digest, erasure_id
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus, replay_id
from webhooks.domain.selection import Selection
from webhooks.domain.signing import sendcomms_signature
from webhooks.services.jobs import erasure as erasures
from webhooks.services.jobs import recovery as recoveries
from webhooks.settings import Settings
from webhooks.wiring import Services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.resources import Resources
    from support.receiver import Request
    from webhooks.domain.delivery import Delivery

FORMER = Path(__file__).parents[1] / "data" / "former"
DEFINITIONS = {"RetryStateMachine": "retry", "RecoveryStateMachine": "recovery"}
FORMER_NAMES = {
    "RetrierFunction",
    "RecoveryStateMachine",
    "RecoveryStateMachineLogs",
    "RecoveryStateMachineRole",
    "RecoveryStateMachineContinuation",
    "FormerRetries",
}
RECIPIENT = "anna@example.com"
SALT = bytes(range(32))
NOW_MS = int(time.time() * 1000)
"""The real time: what the functions write expires by the real clock."""


def rendered(former_names: str) -> dict[str, Any]:
    return template.existing(template.load(parameters={"FormerNames": former_names}))


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = rendered("true")["Resources"][name]["Properties"]
    return found


def test_the_former_names_exist_where_they_are_asked_for() -> None:
    without, with_them = rendered("false")["Resources"], rendered("true")["Resources"]
    assert not FORMER_NAMES & set(without)
    assert set(with_them) - set(without) == FORMER_NAMES


def test_no_other_resource_takes_a_name_that_one_had_in_the_version_before() -> None:
    # CloudFormation makes what is new before it deletes what is gone: the update would fail.
    taken: dict[str, str] = json.loads((FORMER / "names.json").read_text())
    found = [
        (taken[name], logical_id)
        for logical_id, resource in template.read()["Resources"].items()
        for name in custom_names(resource)
        if name in taken
    ]
    assert len(found) > 4
    assert [(former, now) for former, now in found if former != now] == []


def custom_names(resource: dict[str, Any]) -> Iterator[str]:
    for name in ("Name", "AliasName", "DashboardName", "LogGroupName"):
        value = resource.get("Properties", {}).get(name)
        if isinstance(value, dict):
            value = value.get("Fn::Sub", f"${{{value.get('Ref')}}}")
        yield f"{resource['Type']} {value}"


def test_the_former_function_is_the_worker() -> None:
    former, now = properties("RetrierFunction"), properties("WorkerFunction")
    assert former.pop("Handler") == "retrier.handler.lambda_handler"
    assert now.pop("Handler") == "worker.handler.lambda_handler"
    for each in (former, now):
        each.pop("Description")
    assert former == now
    targets = [
        target["Arn"]
        for resource in rendered("true")["Resources"].values()
        for target in resource.get("Properties", {}).get("Targets", [])
    ]
    assert {"Fn::GetAtt": ["WorkerFunction", "Arn"]} in targets
    assert {"Fn::GetAtt": ["RetrierFunction", "Arn"]} not in targets, "nothing is swept twice"


def test_the_former_state_machine_is_the_one_of_jobs() -> None:
    former, now = properties("RecoveryStateMachine"), properties("JobStateMachine")
    for name in ("DefinitionString", "DefinitionSubstitutions", "StateMachineType"):
        assert former[name] == now[name]
    name = former["StateMachineName"]
    assert name == {"Fn::Sub": "${AWS::StackName}-RecoveryStateMachine"}
    assert former["RoleArn"] == {"Fn::GetAtt": ["RecoveryStateMachineRole", "Arn"]}


def test_each_role_may_call_what_the_open_executions_call() -> None:
    function = {"Fn::GetAtt": ["RetrierFunction", "Arn"]}
    retries = properties("FormerRetries")
    assert retries["Roles"] == [{"Ref": "RetryStateMachineRole"}]
    [statement] = retries["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("lambda:InvokeFunction", function)
    [policy] = properties("RecoveryStateMachineRole")["Policies"]
    called = policy["PolicyDocument"]["Statement"][0]["Resource"]
    assert called == [{"Fn::GetAtt": ["WorkerFunction", "Arn"]}, function]
    continued = properties("RecoveryStateMachineContinuation")
    assert continued["Roles"] == [{"Ref": "RecoveryStateMachineRole"}]
    [statement] = continued["PolicyDocument"]["Statement"]
    assert statement["Resource"] == {"Ref": "RecoveryStateMachine"}


def test_the_former_function_calls_the_error_by_its_former_name() -> None:
    class Broken:
        """Services that do not answer."""

        def __getattr__(self, _: str) -> Any:
            raise UnavailableError("no answer")

    services: Any = Broken()
    with pytest.raises(retrier.handler.Unavailable, match="no answer"):
        retrier.handler.handle({"version": 1}, lambda_context(), services)
    for name in DEFINITIONS.values():
        [names, _] = former(name)["States"]["Attempt" if name == "retry" else "Step"]["Retry"]
        assert retrier.handler.Unavailable.__name__ in names["ErrorEquals"]


def former(name: str) -> dict[str, Any]:
    """Return a definition of the version before."""
    source = FORMER / f"{name}.asl.yaml"
    definition: dict[str, Any] = yaml_parse(source.read_text(encoding="utf-8"))
    return definition


class Ran(NamedTuple):
    """What an execution came to."""

    status: str
    walk: list[str]
    errors: list[str]


class World:
    """The template's resources after the update, with executions that began before it."""

    def __init__(self, endpoint: str, made: Resources, faults: Faults) -> None:
        self.faults = faults
        self.made = made
        self.endpoint = endpoint
        self.called: Counter[str] = Counter()
        self.states = aws_client("stepfunctions", endpoint)
        settings = Settings.from_environment(
            {
                **made.functions["RetrierFunction"].environment,
                "RETRY_SCHEDULE": "0,0,0",
                "AWS_ENDPOINT_URL": endpoint,
            }
        )
        self.services = Services("worker", settings, rules=LOOPBACK)
        self.webhooks = DynamoDBWebhookStore(
            aws_client("dynamodb", endpoint),
            settings.webhooks_table,
            deliveries_table=settings.deliveries_table,
            retention_days=30,
        )

    def function(self, name: str, handle: Any) -> LocalFunction:
        return LocalFunction(
            name=self.made.functions[name].name,
            handler=partial(self._call, name, handle),
            timeout_seconds=45,
        )

    def _call(self, name: str, handle: Any, state: Any, context: Any) -> Any:
        self.called[name] += 1
        return handle(state, context, self.services)

    def machine(self, name: str) -> StateMachine:
        return StateMachine(self.endpoint, self.made, name)

    def start(self, machine: str, state: dict[str, Any]) -> str:
        """Begin an execution of the version before, whose first call of DynamoDB fails."""
        account_id = state["account_id"]
        self.faults.on(
            "GetItem", refused("InternalServerError", 500), about=account_id, times=SDK_TRIES
        )
        self.called.clear()
        [*_, last_id] = [value for name, value in state.items() if name.endswith("_id")]
        started = self.states.start_execution(
            stateMachineArn=self.made.state_machines[machine],
            name=f"{account_id}-{last_id}",
            input=json.dumps(state),
        )
        return str(started["executionArn"])

    def ran(self, machine: str, execution: str) -> Ran:
        """Wait for an execution to end."""
        status, _ = self.machine(machine).ended(execution)
        history = self.states.get_execution_history(executionArn=execution, maxResults=1000)
        errors = [
            event["lambdaFunctionFailedEventDetails"]["error"]
            for event in history["events"]
            if "lambdaFunctionFailedEventDetails" in event
        ]
        states = former(DEFINITIONS[machine])["States"]
        return Ran(status, walked(states, history["events"]), errors)

    def webhook(self, account_id: str, receiver: Receiver) -> None:
        webhook = samples.webhook(url=receiver.url, account_id=account_id)
        self.webhooks.create(webhook, samples.SECRET, limit=50)

    def delivery(self, account_id: str, number: int = 0, **values: Any) -> Delivery:
        """Store a delivery, a second older than the one before it."""
        occurred_at_ms = NOW_MS - number * 1000
        one = samples.delivery(
            account_id=account_id,
            id=delivery_id(f"evt_{number}", occurred_at_ms, samples.WEBHOOK_ID),
            event_id=f"evt_{number}",
            created_at_ms=occurred_at_ms,
            **values,
        )
        return self.services._deliveries.create(one)

    def now(self, delivery: Delivery) -> Delivery:
        found = self.services._deliveries.get(delivery.key)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    faults = Faults()
    translated = template.load(parameters={"FormerNames": "true"})
    for machine, name in DEFINITIONS.items():
        owned = translated["Resources"][machine]["Properties"]
        owned["DefinitionString"] = json.dumps(former(name))
        owned["DefinitionSubstitutions"] = {
            "RetrierFunctionArn": {"Fn::GetAtt": ["RetrierFunction", "Arn"]},
            "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
        }
        hurried(translated, machine)
    with (
        pytest.MonkeyPatch.context() as patch,
        aws_server([listen("127.0.0.1", 0, "AWS_PORT")]) as endpoint,
    ):
        patch.setattr(recoveries, "SETTLE_SECONDS", 1.0)
        patch.setattr(erasures, "SETTLE_SECONDS", 1.0)
        made = World(endpoint, resources.create(translated, endpoint), faults)
        functions = [
            made.function("RetrierFunction", retrier.handler.handle),
            made.function("WorkerFunction", worker.handler.handle),
        ]
        with invoking(functions), faults.installed():
            yield made


@pytest.fixture(autouse=True)
def faultless(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").faults.clear()


def test_a_schedule_of_retries_comes_to_its_end(world: World) -> None:
    with Receiver(Answer(500), Answer(500), Answer(200)) as receiver:
        world.webhook("acc_retry", receiver)
        delivery = world.delivery("acc_retry")
        ids = delivery.key._asdict()
        execution = world.start(
            "RetryStateMachine",
            {"version": 1, **ids, "generation": 0, "attempt": 2, "decision": "wait", "seconds": 0},
        )
        ran = world.ran("RetryStateMachine", execution)
    assert ran.status == "SUCCEEDED"
    assert ran.errors == ["Unavailable"]
    assert ran.walk.count("Attempt: retry 1") == 1, "the rule that tries for hours"
    assert ran.walk.count("Decide: wait -> Wait") == 2
    assert [request.headers["x-sendcomms-attempt"] for request in receiver.requests] == [
        *("2", "3", "4")
    ]
    assert world.now(delivery).status is Status.SUCCEEDED
    assert world.called == {"RetrierFunction": 4}


def test_a_schedule_that_is_exhausted_leaves_a_dead_letter(world: World) -> None:
    with Receiver(*[Answer(500)] * 3) as receiver:
        world.webhook("acc_dead", receiver)
        delivery = world.delivery("acc_dead")
        ids = delivery.key._asdict()
        execution = world.start(
            "RetryStateMachine", {"version": 1, **ids, "attempt": 2, "seconds": 0}
        )
        ran = world.ran("RetryStateMachine", execution)
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert ran.walk[-2:] == ["Decide: dead_letter -> DeadLetter", "DeadLetter -> Done"]
    queue = aws_client("sqs", world.endpoint)
    [message] = queue.receive_message(QueueUrl=world.made.queues["DeadLetterQueue"])["Messages"]
    assert json.loads(message["Body"]).items() >= {"type": "delivery.exhausted", **ids}.items()


def test_a_recovery_brings_its_webhook_back(world: World) -> None:
    key = RecoveryKey("acc_recovery", samples.WEBHOOK_ID, "0f8fad5b-d9cb-469f-a165-70867728950e")
    with Receiver() as receiver:
        world.webhook("acc_recovery", receiver)
        health = world.services._health_store
        health.failed(*key[:2], FAILURES_TO_OPEN, NOW_MS)
        assert health.open(key, NOW_MS, NOW_MS) == key.recovery_id
        waiting = [
            world.delivery(
                "acc_recovery",
                number,
                status=Status.WAITING,
                attempts=(),
                next_attempt_at_ms=None,
                reason="webhook_down",
            )
            for number in range(4)
        ]
        ran = world.ran(
            "RecoveryStateMachine",
            world.start(
                "RecoveryStateMachine",
                {
                    "version": 1,
                    "action": "recover",
                    **key._asdict(),
                    "steps": 7,
                    "probe": 3,
                    "after": waiting[-1].id,
                    "pace": 2.5,
                    "seconds": 0,
                    "decision": "wait",
                },
            ),
        )
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert ran.walk.count("Step: retry 1") == 1
    assert [world.now(each).status for each in waiting] == [Status.SUCCEEDED] * 4
    found = world.services._destinations.destination(*key[:2])
    assert found is not None
    assert found.webhook.health.circuit is Circuit.CLOSED
    assert set(world.called) == {"RetrierFunction"}


def test_a_replay_goes_on_in_a_new_execution_of_the_new_definition(world: World) -> None:
    replay = Replay(
        account_id="acc_replay",
        webhook_id=samples.WEBHOOK_ID,
        id=replay_id(NOW_MS * 1_000_000, bytes(8)),
        selection=Selection(NOW_MS - 86_400_000, NOW_MS, NOT_ARRIVED),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    with Receiver() as receiver:
        world.webhook("acc_replay", receiver)
        for number in range(12):
            world.delivery("acc_replay", number, status=Status.EXHAUSTED, next_attempt_at_ms=None)
        assert world.services._replay_store.create(replay)
        state = {"version": 1, "action": "replay", **replay.key._asdict(), "steps": 99}
        execution = world.start("RecoveryStateMachine", {**state, "seconds": 2, "decision": "wait"})
        with updated(world):
            ran = world.ran("RecoveryStateMachine", execution)
            assert world.called["RetrierFunction"] == 2
            machine = world.machine("RecoveryStateMachine")
            assert machine.ended(machine.named(f"{replay.id}-100"))[0] == "SUCCEEDED"
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert "Continue -> Done" in ran.walk
    assert world.called == {"RetrierFunction": 2, "WorkerFunction": 1}
    assert len(receiver.requests) == 12
    ended = world.services._replay_store.get(replay.key)
    assert ended is not None
    assert (ended.status, ended.succeeded) == (ReplayStatus.COMPLETED, 12)


@contextmanager
def updated(world: World) -> Iterator[None]:
    """Give the former state machine its definition of this version, as the update does."""
    arn = world.made.state_machines["RecoveryStateMachine"]
    before = world.states.describe_state_machine(stateMachineArn=arn)["definition"]
    machine = rendered("true")["Resources"]["RecoveryStateMachine"]
    function = world.function("WorkerFunction", worker.handler.handle).arn
    after = template.definition(machine, {"WorkerFunctionArn": function})
    world.states.update_state_machine(stateMachineArn=arn, definition=after)
    yield
    world.states.update_state_machine(stateMachineArn=arn, definition=before)


def test_an_erasure_erases(world: World) -> None:
    body = json.dumps({"event": "email.sent", "data": {"to": RECIPIENT}}).encode()
    erasure = Erasure(
        account_id="acc_erasure",
        id=erasure_id(NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        salt=SALT,
        digest=digest(SALT, RECIPIENT),
    )
    with Receiver() as receiver:
        world.webhook("acc_erasure", receiver)
    delivery = world.delivery(
        "acc_erasure", body=body, status=Status.SUCCEEDED, next_attempt_at_ms=None
    )
    world.services._erasure_store.create(erasure)
    state = {"version": 1, "action": "erase", **erasure.key._asdict(), "seconds": 0}
    ran = world.ran("RecoveryStateMachine", world.start("RecoveryStateMachine", state))
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert world.now(delivery).erased
    ended = world.services._erasure_store.get(erasure.key)
    assert ended is not None
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 1)


def by_contract(request: Request) -> Answer:
    genuine = sendcomms_signature(samples.SECRET, request.body)
    return Answer(200 if request.headers.get("x-sendcomms-signature") == genuine else 401)


def test_a_check_is_made(world: World) -> None:
    check = Check(
        account_id="acc_check",
        webhook_id=samples.WEBHOOK_ID,
        id=check_id(NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=int(time.time() * 1000),
        updated_at_ms=NOW_MS,
    )
    with Receiver(by_contract) as receiver:
        world.webhook("acc_check", receiver)
        world.services._check_store.create(check)
        state = {"version": 1, "action": "check", **check.key._asdict(), "seconds": 0}
        ran = world.ran("RecoveryStateMachine", world.start("RecoveryStateMachine", state))
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    ended = world.services._check_store.get(check.key)
    assert ended is not None
    assert ended.status is CheckStatus.COMPLETED
    assert set(ended.outcomes) == set(Probe)


def test_a_job_that_is_given_up_is_recorded_as_failed(world: World) -> None:
    check = Check(
        account_id="acc_given_up",
        webhook_id=samples.WEBHOOK_ID,
        id=check_id((NOW_MS + 1) * 1_000_000, bytes(8)),
        created_at_ms=int(time.time() * 1000),
        updated_at_ms=NOW_MS,
    )
    world.services._check_store.create(check)
    state = {"version": 99, "action": "check", **check.key._asdict(), "seconds": 0}
    ran = world.ran("RecoveryStateMachine", world.start("RecoveryStateMachine", state))
    assert ran.status == "FAILED"
    assert ran.walk[-3:] == [
        *("UnknownDecision -> Abandon", "Abandon: retry 1", "Abandon -> Interrupted")
    ]
    ended = world.services._check_store.get(check.key)
    assert ended is not None
    assert (ended.status, ended.reason) == (CheckStatus.FAILED, "internal_error")


class OneItem:
    """A DynamoDB client of one item, in which that version's words stand."""

    def __init__(self, item: dict[str, Any]) -> None:
        text = json.dumps(item).replace("response_too_large", "answer_too_large")
        assert "answer_too_large" in text
        self.item = json.loads(text)

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.item}


def test_an_attempt_that_the_version_before_recorded_is_read() -> None:
    attempt = samples.attempt(1, error=FailureReason.RESPONSE_TOO_LARGE)
    delivery = samples.delivery(attempts=(attempt,))
    assert read_delivery(OneItem(delivery_item(delivery, 60)).item) == delivery


def test_a_check_that_the_version_before_recorded_is_read() -> None:
    outcomes = {Probe.VALID: Outcome(FailureReason.RESPONSE_TOO_LARGE, 200, 5)}
    check = Check("acc_1", samples.WEBHOOK_ID, check_id(1, bytes(8)), 1, 1, outcomes=outcomes)
    item = {
        **items.job_key("check", *check.key),
        **CHECKS.attributes(check),
        "status": {"S": check.status.value},
        **{name: items.number(1) for name in ("created_at", "updated_at", "expires_at")},
    }
    client: Any = OneItem(item)
    store = DynamoDBJobStore(client, "DeliveriesTable", CHECKS, retention_days=1, clock=lambda: 0)
    assert store.get(check.key) == check
