"""Requests that moto accepts and AWS refuses: our own code never sends them.

That a message stays hidden for as long as a function may take is in the template, and therefore in
`test_template`; that a throttled call is never read as an absence, in `test_throttled_stores`.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

import worker.handler
from support import samples
from support.backend import lambda_context
from support.drawing import as_read, event_data
from support.engines import DYNAMODB_LOCAL
from support.fakes import FakeTelemetry
from support.faults import Faults, answer_lost
from webhooks.adapters.dynamodb import delivery_items, item_keys, webhook_items
from webhooks.adapters.sqs import SQSEventQueue, SQSRejectedMessages
from webhooks.adapters.stepfunctions import (
    StepFunctionsJobScheduler,
    StepFunctionsRetryScheduler,
)
from webhooks.domain.delivery import (
    MAX_ATTEMPTS,
    MAX_RESPONSE_BODY_BYTES,
    Delivery,
    FailureReason,
    Status,
)
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES
from webhooks.domain.health import RecoveryKey
from webhooks.domain.ingest import RejectedMessage, read_message
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.replay import ReplayKey
from webhooks.domain.ses import SesAccounts
from webhooks.services.jobs.runner import JobRunner, NextStep
from webhooks.services.publisher import Publisher
from webhooks.services.retrier import Decision, RetryDecision
from worker.jobs import STEPS_AN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.stores import Stores
    from webhooks.services.jobs.runner import Job

LONGEST_SCHEDULE = 51
"""The attempts of a schedule with as many delays as the template's parameter takes."""

EXECUTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
MAX_STATE_BYTES = 262_144
MAX_ITEM_BYTES = 400 * 1024
MAX_QUEUED_BYTES = 1_048_576
SQS_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")

account_ids = st.from_regex(r"[A-Za-z0-9_.:@-]{1,64}", fullmatch=True)
uuids = st.uuids().map(str)
milliseconds = st.integers(0, (1 << 48) - 1)
any_text = st.text(st.characters(codec=None, exclude_categories=()))


class Recorder:
    """An AWS client that accepts every call, and keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, _: str) -> Callable[..., dict[str, Any]]:
        def call(**parameters: Any) -> dict[str, Any]:
            self.asked.append(parameters)
            entries = parameters.get("Entries", [])
            return {"Successful": [{"Id": entry["Id"]} for entry in entries]}

        return call


def assert_startable(name: str, state: str) -> None:
    """StartExecution in AWS's API reference: a name of 80 characters, an input of 256 KB."""
    assert EXECUTION_NAME.fullmatch(name)
    assert len(state.encode()) <= MAX_STATE_BYTES


@given(st.data())
def test_every_execution_has_a_name_and_an_input_that_step_functions_takes(
    data: st.DataObject,
) -> None:
    account_id, webhook_id, one_id = data.draw(st.tuples(account_ids, uuids, uuids))
    generation, seconds = data.draw(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7)))
    restarts = data.draw(st.integers(0, 10**4))
    client: Any = Recorder()
    delivery = samples.delivery(
        account_id=account_id,
        webhook_id=webhook_id,
        id=one_id,
        created_at_ms=data.draw(milliseconds),
    )
    schedules = StepFunctionsRetryScheduler(client, "arn")
    schedules.start(replace(delivery, generation=generation), delay_seconds=seconds)
    again = replace(delivery, generation=generation, restarts=restarts, status=Status.EXHAUSTED)
    schedules.start(again, delay_seconds=seconds)
    schedules.resend(delivery.key, attempt=MAX_ATTEMPTS, request_id=webhook_id)
    replay = ReplayKey(account_id, webhook_id, one_id)
    StepFunctionsJobScheduler(client, "arn").start(replay, run=restarts)
    StepFunctionsJobScheduler(client, "arn").start(
        RecoveryKey(account_id, webhook_id, one_id), delay_seconds=seconds
    )
    assert len(client.asked) == 5
    for asked in client.asked:
        assert_startable(asked["name"], asked["input"])


@given(account_ids, uuids, uuids, st.integers(1, 10**9))
def test_an_execution_that_goes_on_in_the_next_names_it_as_step_functions_takes_it(
    account_id: str, webhook_id: str, replay_id: str, executions: int
) -> None:
    state = {
        "version": 1,
        "action": "replay",
        **ReplayKey(account_id, webhook_id, replay_id)._asdict(),
        "run": executions % 1000,
        "steps": executions * STEPS_AN_EXECUTION - 1,
        "seconds": 1,
    }
    replay_job = SimpleNamespace(key_type=ReplayKey, step=lambda *_: NextStep(1.0))
    jobs = JobRunner({Action.REPLAY: lambda: cast("Job", replay_job)})
    services: Any = SimpleNamespace(telemetry=_telemetry(), jobs=jobs)
    after = worker.handler.handle(state, lambda_context(), services)
    assert after["decision"] == "continue"
    assert_startable(after["name"], json.dumps(after["input"]))


def test_the_state_of_the_largest_delivery_is_small() -> None:
    verdict = RetryDecision(Decision.DEAD_LETTER, largest_delivery())
    decided = SimpleNamespace(retry=lambda *_, **__: verdict)
    services: Any = SimpleNamespace(telemetry=_telemetry(), retrier=decided, jobs=JobRunner({}))
    state = {"version": 1, **largest_delivery().key._asdict(), "attempt": 10, "seconds": 5}
    after = worker.handler.handle(state, lambda_context(), services)
    assert after["dead_letter"]["attempts"] == len(largest_delivery().attempts)
    assert len(json.dumps(after)) < 2048


def _telemetry() -> Any:
    return SimpleNamespace(invocation=lambda _, **_ids: nullcontext())


def largest_delivery() -> Delivery:
    """Return a delivery whose every value is as large as our own rules allow.

    Its log was one short of full when the longest schedule began anew, its response bodies are all
    of a character that takes two bytes to store, its body cannot be compressed.
    """
    response_body = '"' * MAX_RESPONSE_BODY_BYTES
    attempts = tuple(
        samples.attempt(
            place,
            started_at_ms=9_999_999_999_999,
            duration_ms=99_999,
            error=FailureReason.RESPONSE_TOO_LARGE,
            response_body=response_body,
            manual=True,
        )
        for place in range(1, MAX_ATTEMPTS + LONGEST_SCHEDULE)
    )
    noise = random.Random(1).choices(range(0x21, 0x7F), k=MAX_BODY_BYTES)  # noqa: S311
    return samples.delivery(
        account_id="a" * 64,
        event_id="e" * 128,
        event_type="email.complained",
        body=bytes(noise),
        attempts=attempts,
        reason="response_too_large",
        generation=10**6,
        earlier_attempts=len(attempts),
    )


def test_the_largest_delivery_fits_in_an_item() -> None:
    assert item_keys.item_size(delivery_items.delivery_item(largest_delivery(), 0)) < MAX_ITEM_BYTES


def test_the_largest_delivery_is_written_and_read(
    dynamodb_stores: Stores, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["dynamodb"] != DYNAMODB_LOCAL:
        pytest.skip("moto counts a character twice that JSON escapes")
    largest = largest_delivery()
    before = replace(largest, attempts=largest.attempts[:-1])
    store = dynamodb_stores.deliveries
    assert store.create(before) == before
    assert store.update(largest, before=before)
    assert store.get(largest.key) == largest


def test_no_value_whose_order_counts_is_in_a_map_or_a_set() -> None:
    webhook = samples.webhook(headers={"X-B": "1", "X-A": "2"}, description="d")
    unordered = {
        name: value
        for item in (
            delivery_items.delivery_item(largest_delivery(), 0),
            webhook_items.webhook_item(webhook, samples.SECRET),
        )
        for name, value in item.items()
        if not _keeps_order(value)
    }
    assert set(unordered) == {"headers"}
    backwards = dict(reversed(unordered["headers"]["M"].items()))
    item = webhook_items.webhook_item(webhook, samples.SECRET) | {"headers": {"M": backwards}}
    assert webhook_items.read_webhook(item) == webhook


def _keeps_order(value: Any) -> bool:
    [(kind, content)] = value.items()
    return kind in {"S", "N", "B", "BOOL"} or (kind == "L" and all(map(_keeps_order, content)))


@pytest.fixture
def requests(dynamodb: Any) -> list[tuple[str, Any]]:
    """The operation and the parameters of every request to DynamoDB from now on."""
    sent: list[tuple[str, Any]] = []

    def note(request: Any, event_name: str, **_: Any) -> None:
        sent.append((event_name.rpartition(".")[2], json.loads(request.body)))

    dynamodb.meta.events.register_first("before-send.dynamodb", note)
    return sent


def test_batches_are_no_larger_than_dynamodb_takes_and_name_nothing_twice(
    requests: list[tuple[str, Any]], dynamodb_stores: Stores
) -> None:
    deliveries = [
        samples.delivery(number, status=Status.SUCCEEDED, next_attempt_at_ms=None)
        for number in range(1, 127)
    ]
    keys = [delivery.key for delivery in deliveries]
    assert dynamodb_stores.deliveries.put_settled(deliveries) == []
    found = dynamodb_stores.deliveries.get_many([*keys, *keys])
    assert found == dict(zip(keys, deliveries, strict=True))
    sizes = []
    for operation, parameters in requests:
        [(_, batch)] = parameters["RequestItems"].items()
        named = (
            [json.dumps(key) for key in batch["Keys"]]
            if operation == "BatchGetItem"
            else [_written_key(write) for write in batch]
        )
        assert len(set(named)) == len(named)
        sizes.append((operation, len(named)))
    written, read = ("BatchWriteItem", 25), ("BatchGetItem", 100)
    assert sizes == [*[written] * 5, ("BatchWriteItem", 1), read, ("BatchGetItem", 26)]


def _written_key(write: Any) -> str:
    item = write["PutRequest"]["Item"]
    return f"{item['owner']['S']} {item['delivery_id']['S']}"


def test_a_transaction_says_who_it_is_each_time_that_it_is_sent(
    dynamodb: Any, requests: list[tuple[str, Any]], dynamodb_stores: Stores
) -> None:
    unanswered = iter([True])

    def lose(request: Any, **_: Any) -> None:
        if next(unanswered, False):
            raise ReadTimeoutError(endpoint_url=request.url)

    dynamodb.meta.events.register_last("before-send.dynamodb", lose)
    dynamodb_stores.webhooks.create(samples.webhook(), samples.SECRET, limit=2)
    first, second = (parameters["ClientRequestToken"] for _, parameters in requests)
    assert first == second
    assert len(dynamodb_stores.webhooks.page("acc_1", 10).items) == 1


def test_a_transaction_whose_answer_was_lost_is_made_once(
    dynamodb_stores: Stores, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["dynamodb"] != DYNAMODB_LOCAL:
        pytest.skip("moto answers before the faults: the test above is on it")
    faults = Faults()
    faults.on("TransactWriteItems", answer_lost(), times=1)
    with faults.installed():
        for number in (1, 2):
            dynamodb_stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=2)
    assert faults.count("TransactWriteItems") == 3
    assert len(dynamodb_stores.webhooks.page("acc_1", 10).items) == 2


def test_a_page_that_a_megabyte_cuts_short_says_that_there_is_more(
    dynamodb_stores: Stores,
) -> None:
    headers = {f"X-Large-{number}": "v" * 1000 for number in range(8)}
    numbers = range(130, 0, -1)
    for number in numbers:
        webhook = samples.webhook(number, url="https://a.example/" + "p" * 2030, headers=headers)
        dynamodb_stores.webhooks.create(webhook, samples.SECRET, limit=200)
    seen, before = [], None
    while True:
        page = dynamodb_stores.webhooks.page("acc_1", 120, before)
        seen += [webhook.id for webhook in page.items]
        before = page.next
        if before is None:
            break
        assert len(page.items) < 120
    assert seen == [samples.webhook(number).id for number in numbers]
    assert len(dynamodb_stores.destinations.destinations("acc_1")) == len(numbers)


@given(event_data(any_text).map(as_read))
def test_published_events_are_messages_that_sqs_takes(data: dict[str, Any]) -> None:
    client: Any = Recorder()
    publisher = Publisher(SQSEventQueue(client, "url"), FakeTelemetry(), clock=lambda: 1e9)
    document = {"event": "email.sent", "data": data}
    [published] = publisher.publish("acc_1", [document])
    assert published.error is None
    [entry] = client.asked[0]["Entries"]
    assert SQS_TEXT.fullmatch(entry["MessageBody"])
    assert json.loads(entry["MessageBody"])["data"] == data


@given(any_text)
@pytest.mark.parametrize("before", ["", '{"event":'], ids=["anything", "almost an event"])
def test_a_message_that_is_dead_lettered_is_one_that_sqs_takes(before: str, text: str) -> None:
    body = before + text
    try:
        read_message(body, sent_at_ms=0, ses_accounts=SesAccounts())
    except InvalidEventError as error:
        rejected = RejectedMessage("m", body, error.reason, str(error))
    else:
        return
    client: Any = Recorder()
    assert SQSRejectedMessages(client, "url").put([rejected]) == []
    [sent] = client.asked
    texts = [one["StringValue"] for one in sent["MessageAttributes"].values()]
    assert len(texts) == 3
    for one in (sent["MessageBody"], *texts):
        assert SQS_TEXT.fullmatch(one)
    if SQS_TEXT.fullmatch(body):
        assert sent["MessageBody"] == body


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("", " "),
        ("a\x00b", r"a\u0000b"),
        ("\ud800", r"\ud800"),
        ("\ufffe\uffff\x1f", r"\ufffe\uffff\u001f"),
        ("\t\r\n \x7f\u0085\ud7ff\ue000\ufffd\U0001f600", "\t\r\n \x7f\u0085\ud7ff\ue000\ufffd😀"),
    ],
    ids=["nothing", "NUL", "a lone surrogate", "no characters", "what SQS takes"],
)
def test_what_sqs_refuses_is_dead_lettered_as_an_escape(came: str, kept: str) -> None:
    client: Any = Recorder()
    rejected = RejectedMessage("m", came, "not_json", f"body: {came}")
    assert SQSRejectedMessages(client, "url").put([rejected]) == []
    assert client.asked[0]["MessageBody"] == kept
    detail = client.asked[0]["MessageAttributes"]["detail"]["StringValue"]
    assert detail == f"body: {kept if came else ''}"
