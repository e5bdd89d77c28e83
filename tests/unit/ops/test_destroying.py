"""Deleting a stack whose executions wait, on a fake that waits for them like AWS."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from local import template
from ops import executions
from ops.destroying import QUIET_SECONDS, NotDestroyedError
from unit.ops.deleting import AtOnce, Operator, with_retries
from unit.ops.fake_deletion import (
    API,
    FORMER_JOBS,
    JOBS,
    RETRIES,
    STACK,
    WORKER,
    FakeAws,
    Source,
)

REGIONS = ["eu-central-1", "us-east-1"]
REGIONS = ["eu-central-1", "us-east-1"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "ThreadPoolExecutor", AtOnce)


def test_deleting_at_once_hangs_on_one_delivery_that_waits() -> None:
    aws = with_retries(1)
    assert aws.delete() == 1
    assert aws.time.seconds >= 3600
    assert aws.status == "DELETE_IN_PROGRESS"


@pytest.mark.parametrize("region", REGIONS)
def test_a_thousand_that_wait_are_stopped_within_five_minutes(region: str) -> None:
    aws = with_retries(1000, region)
    assert Operator(aws).destroy() == 0
    assert aws.status == "DELETE_COMPLETE"
    assert aws.time.seconds <= 300
    assert (aws.stop_bucket.throttled, aws.list_bucket.throttled) == (0, 0)


@pytest.mark.parametrize(("hours", "status"), [(0.5, "DELETE_IN_PROGRESS"), (1.5, "DELETE_FAILED")])
def test_a_deletion_that_hangs_or_failed_is_brought_to_its_end(hours: float, status: str) -> None:
    aws = with_retries(10)
    aws.begin_deletion()
    aws.time.seconds += 3600 * hours
    assert aws.running() == 10
    assert aws.status == status
    assert Operator(aws).destroy() == 0
    assert aws.status == "DELETE_COMPLETE"


@pytest.mark.parametrize("former_names", [False, True])
def test_what_starts_executions_is_closed_before_the_deletion(former_names: bool) -> None:
    aws = with_retries(700, former_names=former_names)
    aws.wait_in(FORMER_JOBS if former_names else JOBS, 20)
    aws.everything_starts()
    aws.time.seconds = 600.0
    assert Operator(aws).destroy() == 0
    assert aws.running() == 0
    assert len(set(aws.stopped)) > 720 + 300
    assert aws.time.seconds <= 1000


def test_what_a_last_invocation_starts_is_stopped_too() -> None:
    aws = with_retries(1)
    # One execution, some time after the lists were empty.
    aws.sources = {WORKER: Source(RETRIES, 65.0, 50.0)}
    assert Operator(aws).destroy() == 0
    assert len(set(aws.stopped)) == 2


def test_jobs_are_stopped_before_retries_since_they_start_them() -> None:
    aws = with_retries(3, former_names=True)
    aws.wait_in(JOBS, 1)
    aws.wait_in(FORMER_JOBS, 1)
    Operator(aws).destroy()
    first_round = [arn.split(":")[-2] for arn in aws.stopped[:5]]
    assert set(first_round[:2]) == {JOBS, FORMER_JOBS}
    assert first_round[2:] == [RETRIES] * 3


def test_the_worker_delivers_until_the_executions_are_stopped() -> None:
    aws = with_retries(800)
    aws.everything_starts()
    Operator(aws).destroy()
    [sweep, api, mapping, *functions] = aws.changes
    assert [sweep, api, mapping] == ["close the-sweep", f"close {API}", "close a-mapping"]
    assert functions == ["close DispatcherFunction", f"close {WORKER}"]
    assert aws.sources[WORKER].closed_at > aws.sources["mapping"].closed_at


def test_executions_that_are_throttled_are_stopped_in_a_later_round() -> None:
    aws = with_retries(1500)
    # Another program stops executions of its own.
    aws.stop_bucket.per_second = 10
    assert Operator(aws).destroy() == 0
    assert aws.stop_bucket.throttled > 100
    assert aws.running() == 0


def test_it_says_what_ends_what_stays_and_how_long_it_takes() -> None:
    aws = with_retries(1199)
    aws.wait_in(JOBS, 3)
    aws.due, aws.messages = 40, 17
    operator = Operator(aws)
    operator.destroy()
    before, _, _ = operator.text.partition("Type the stack's name")
    said = dict(re.split(r" {2,}", line.strip()) for line in before.split("\n") if "  " in line)
    assert said["deliveries unsent, retrying or waiting"] == "640"
    assert said["jobs running: recoveries, replays, erasures, checks"] == "3"
    assert said["executions running, those of jobs included"] == "1,202"
    assert said["messages in the queues"] == "17"
    assert said["DeliveriesTable"] == "the-deliveries"
    assert "IdempotencyTable" not in before
    assert "about 29 seconds, at 25 per second after the first 500;" in before


@pytest.mark.parametrize(
    ("region", "least", "million"),
    [("eu-central-1", "33 minutes", "11 hours"), ("us-east-1", "4 minutes", "83 minutes")],
)
def test_counting_ends_where_lists_would_be_throttled(
    region: str, least: str, million: str
) -> None:
    aws = with_retries(executions.MOST_COUNTED + 1, region)
    operator = Operator(aws, "no")
    with pytest.raises(NotDestroyedError):
        operator.destroy()
    assert "more than 50,000" in operator.text
    assert f"at least {least}" in operator.text
    assert f"A million, the default maximum of a region, takes {million}." in operator.text
    assert aws.list_bucket.throttled == 0


def test_a_long_stop_asks_for_credentials_that_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "MOST_COUNTED", 95_000)
    aws = with_retries(91_000)
    operator = Operator(aws, "no")
    with pytest.raises(NotDestroyedError):
        operator.destroy()
    assert "credentials that last" in operator.text


def test_the_progress_has_a_number_and_the_time_that_is_left() -> None:
    aws = with_retries(2000)
    operator = Operator(aws)
    operator.destroy()
    assert "525 of 2,000 executions stopped, about 59 seconds left" in operator.progress
    lines = [line for line in operator.progress if "of 2,000" in line]
    assert 50 <= len(lines) <= 70


def test_an_execution_that_a_late_list_has_again_is_counted_once() -> None:
    aws = with_retries(1000)
    operator = Operator(aws)
    operator.destroy()
    assert len(aws.stopped) > 1000
    counts = {
        int(line.split()[0].replace(",", "")) for line in operator.progress if "stopped" in line
    }
    assert max(counts) == 1000
    assert "1,000 of 1,000 executions stopped" in operator.progress


@pytest.mark.parametrize("answer", ["no", "sendcomms-webhooks-prod", " "])
def test_another_answer_changes_nothing(answer: str) -> None:
    aws = with_retries(5)
    with pytest.raises(NotDestroyedError, match="not the stack's name"):
        Operator(aws, answer).destroy()
    assert aws.changes == []
    assert aws.stopped == []
    assert aws.running() == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_an_interrupted_question_changes_nothing(error: type[BaseException]) -> None:
    aws = with_retries(5)

    def ask(_: str) -> str:
        raise error

    destruction = replace(Operator(aws).destruction(), ask=ask)
    with pytest.raises(NotDestroyedError, match="interrupted"):
        destruction.destroy()
    assert aws.changes == []


def test_with_nobody_to_ask_it_says_the_same_and_goes_on() -> None:
    aws = with_retries(5)
    operator = Operator(aws, None)
    assert operator.destroy() == 0
    assert "These resources stay:" in operator.text


def test_a_run_that_is_interrupted_says_how_to_go_on_and_the_next_one_does() -> None:
    aws = with_retries(3000)
    aws.time.interrupts_at = 50.0
    operator = Operator(aws)
    assert operator.destroy() == 130
    assert "interrupted" in operator.text
    assert "To continue:  make destroy STAGE=dev\n" in operator.text
    assert "make destroy STAGE=dev UNDO=1" in operator.text
    assert 0 < aws.running() < 3000
    stopped_before = set(aws.stopped)
    aws.time.seconds += 10
    assert Operator(aws).destroy() == 0
    assert aws.changes.count("close a-mapping") == 1
    assert not stopped_before & set(aws.stopped[len(stopped_before) :])


def test_a_refused_request_says_how_to_go_on() -> None:
    aws = with_retries(5)
    aws.denied = {"states:StopExecution"}
    operator = Operator(aws)
    assert operator.destroy() == 1
    assert "AccessDeniedException" in operator.text
    assert "To continue:" in operator.text
    assert aws.status == "CREATE_COMPLETE"


def test_a_stack_of_which_nothing_is_closed_is_not_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = with_retries(5)

    def denied(**_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DisableRule")

    monkeypatch.setattr(aws, "disable_rule", denied)
    operator = Operator(aws)
    assert operator.destroy() == 1
    assert aws.changes == []
    assert "It may be closed for events and calls" in operator.text


def test_the_sam_clis_exit_status_is_passed_on() -> None:
    aws = with_retries(5)
    aws.delete = lambda: 7  # type: ignore[method-assign]
    operator = Operator(aws)
    assert operator.destroy() == 7
    assert "the SAM CLI ended with 7" in operator.text


def test_a_count_that_is_denied_is_unknown_and_stops_nothing() -> None:
    aws = with_retries(1)
    aws.denied = {"dynamodb:Query", "sqs:GetQueueAttributes"}
    operator = Operator(aws)
    assert operator.destroy() == 0
    assert operator.text.count("unknown (AccessDeniedException)") == 2


def test_a_stack_that_is_not_there_is_told() -> None:
    aws = FakeAws()
    aws.status = "DELETE_COMPLETE"
    with pytest.raises(NotDestroyedError, match=f"no stack {STACK}"):
        Operator(aws).destroy()


def test_the_last_invocation_has_ended_before_the_deletion() -> None:
    functions = template.of_type(template.read(), "AWS::Serverless::Function").values()
    longest = max(function["Properties"]["Timeout"] for function in functions)
    assert longest + 2 * executions.LOOK_SECONDS <= QUIET_SECONDS
