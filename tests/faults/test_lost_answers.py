"""Row 104: the answer to a write is lost, for every write that there is.

The SDK's reaction is tested here: it sends the same request again. That the page names every write
is held against the source of the adapters.
"""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from faults.every_write import WRITES
from faults.lost_answers import Writes, contents, empty
from faults.writing import (
    KEY,
    NOTICE,
    StoreFixture,
    Write,
)
from faults.written import writing_methods
from support import samples
from support.backend import endpoints
from support.engines import ELASTICMQ, engine_of, unique
from support.stores import open_dynamodb
from webhooks.adapters.eventbridge import EventBridgeOperationalEvents
from webhooks.adapters.sqs import SQSEventQueue, SQSReceivedMessages, SQSRejectedMessages
from webhooks.adapters.stepfunctions import (
    StepFunctionsJobScheduler,
    StepFunctionsRetryScheduler,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ingest import RejectedMessage
from webhooks.domain.resending import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

_UNFIXED = frozenset({"expiration", "in_progress_expiration"})
"""The attributes that Powertools sets from its own clock."""

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/faults.md"

TEMPLATE = {"SesRule", "OperationalEventsRule", "Events", "Sweep"}
"""The writes that AWS makes by itself because of the template."""


@pytest.fixture(scope="module", params=[engine_of("dynamodb")])
def client(request: pytest.FixtureRequest) -> Iterator[DynamoDBClient]:
    with open_dynamodb(request.param) as made:
        yield made


@pytest.fixture
def fixture(client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> StoreFixture:
    monkeypatch.setattr(
        "webhooks.adapters.dynamodb.seeded_records.secrets.token_hex", lambda _: "holder"
    )
    return StoreFixture(client)


def outcome(fixture: StoreFixture, write: Write, *, lost: int | None = None, times: int = 1) -> Any:
    """Return a call's answer, its traces in the tables, and the number of its writes."""
    empty(fixture.client)
    write.prepare(fixture)
    answer = None
    with Writes(lost).watched() as writes:
        for _ in range(times):
            answer = write.act(fixture)
    if isinstance(answer, Exception):
        answer = type(answer), str(answer)
    if lost is not None:
        assert len(writes.sent) == writes.calls + 1, "the SDK sent the write again"
    return (answer, contents(fixture.client, but=_UNFIXED)), writes.calls


@pytest.mark.parametrize("name", WRITES)
def test_row_104_a_write_whose_answer_is_lost_is_made_once(
    fixture: StoreFixture, name: str
) -> None:
    write = WRITES[name]
    once, calls = outcome(fixture, write)
    assert calls
    found = [outcome(fixture, write, lost=place)[0] for place in range(calls)]
    if write.twice:
        # A call that only reads is not counted.
        twice, _ = outcome(fixture, write, times=2)
        assert twice in found
        found = [each for each in found if each != twice]
    for each in found:
        assert each == once


class Services:
    """A queue, a state machine and a bus, and the final contents of each."""

    def __init__(self) -> None:
        session: Any = boto3.session.Session()
        self.sqs = session.client("sqs")
        self.states = session.client("stepfunctions")
        self.url = self.sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
        self.arn = self.states.create_state_machine(
            name=uuid4().hex,
            definition='{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/r",
        )["stateMachineArn"]
        self.bus = EventBridgeOperationalEvents(session.client("events"), "stack")
        self.retries = StepFunctionsRetryScheduler(self.states, self.arn, self.arn)
        self.jobs = StepFunctionsJobScheduler(self.states, self.arn)

    def messages(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return [message["Body"] for message in found.get("Messages", [])]

    def executions(self) -> list[str]:
        found = self.states.list_executions(stateMachineArn=self.arn)["executions"]
        return [execution["name"] for execution in found]

    def put(self) -> Any:
        return SQSEventQueue(self.sqs, self.url).put([Outgoing("{}", "acc_1")])

    def reject(self) -> Any:
        message = RejectedMessage("m", "{}", "not_json", "detail")
        return SQSRejectedMessages(self.sqs, self.url).put([message])

    def delete(self) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody="{}")
        received = self.sqs.receive_message(QueueUrl=self.url)["Messages"]
        handles = [message["ReceiptHandle"] for message in received]
        # SQS deletes an absent message, and ElasticMQ refuses (see `test_what_queues_allow`).
        other = engine_of("sqs") == ELASTICMQ
        with suppress(UnavailableError) if other else nullcontext():
            SQSReceivedMessages(self.sqs, self.url).delete(handles)


@dataclass(frozen=True)
class Request:
    """A call of another service than DynamoDB, its answer, and the number of its final items."""

    act: Callable[[Services], Any]
    operation: str
    answer: Any = None
    messages: int = 0
    executions: int = 0


REQUESTS = {
    "SQSEventQueue.put": Request(Services.put, "SendMessageBatch", [], messages=2),
    "SQSRejectedMessages.put": Request(Services.reject, "SendMessage", [], messages=2),
    "SQSReceivedMessages.delete": Request(Services.delete, "DeleteMessageBatch"),
    "StepFunctionsRetryScheduler.start": Request(
        lambda on: on.retries.start(samples.delivery(), delay_seconds=5),
        "StartExecution",
        executions=1,
    ),
    "StepFunctionsRetryScheduler.resend": Request(
        lambda on: on.retries.resend(samples.delivery().key, attempt=2, request_id="r"),
        "StartExecution",
        executions=1,
    ),
    "StepFunctionsJobScheduler.start": Request(
        lambda on: on.jobs.start(KEY, delay_seconds=5), "StartExecution", executions=1
    ),
    "EventBridgeOperationalEvents.publish": Request(lambda on: on.bus.publish(NOTICE), "PutEvents"),
    "EventBridgeOperationalEvents.publish_all": Request(
        lambda on: on.bus.publish_all([NOTICE, NOTICE]), "PutEvents", []
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_row_104_a_request_whose_answer_is_lost_is_answered_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = REQUESTS[name]
    with endpoints(monkeypatch):
        services = Services()
        # The test's own preparation sends another operation.
        with Writes(0, request.operation).watched() as writes:
            assert request.act(services) == request.answer
        first, second = (sent for operation, sent in writes.sent if operation == request.operation)
        assert first == second
        assert len(services.messages()) == request.messages
        assert len(services.executions()) == request.executions


def documented() -> dict[str, str]:
    """Return the second column of the page's table of writes, by the names in the first."""
    section = PAGE.read_text().partition("\n## Every write, made twice\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
    return {name: second for first, second, _ in rows for name in re.findall(r"`([^`]+)`", first)}


def states_that_write() -> set[str]:
    """Return the states that call services other than Lambda, e.g. `retry.asl.yaml: DeadLetter`."""
    return {
        f"{path.name}: {name}"
        for path in (ROOT / "statemachines").glob("*.asl.yaml")
        for name, service in re.findall(
            r"^ +(\w+):\n +Type: Task\n +Resource: (\S+)", path.read_text(), re.MULTILINE
        )
        if service != "${WorkerFunctionArn}"
    }


def test_row_104_the_page_names_every_write() -> None:
    named = {*documented()}
    assert named == writing_methods() | states_that_write() | {
        f"template.yaml: {name}" for name in TEMPLATE
    }


def test_row_104_every_write_of_an_adapter_has_its_test() -> None:
    tested = {name.partition(":")[0] for name in (*WRITES, *REQUESTS)}
    assert tested == writing_methods()


def test_row_104_the_page_says_of_which_writes_a_second_one_counts_again() -> None:
    counted = {name.partition(":")[0] for name, write in WRITES.items() if write.twice}
    found = {name for name, second in documented().items() if "counts again" in second.lower()}
    assert found == counted
