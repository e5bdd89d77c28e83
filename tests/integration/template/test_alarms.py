"""Every alarm of the template, and its condition (`test_alarm_states` has its states)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from support.stack import ROOT
from support.translated_template import OWN, of_type, text


class Sample(NamedTuple):
    """An alarm's use of a metric: its resource in the form of `text`, statistic and period."""

    statistic: str
    name: str
    of: str
    namespace: str = OWN
    seconds: int = 300


class Alarm(NamedTuple):
    """The condition of an alarm: a comparison, and a number of periods in a row.

    The first of several expressions is compared. Expressions use the samples' names.
    """

    sample: Sample | None
    comparison: str
    threshold: float | str
    periods: int = 1
    missing: str = "notBreaching"
    expressions: tuple[tuple[str, str], ...] = ()
    samples: tuple[tuple[str, Sample], ...] = ()


def arrivals(queue: str) -> tuple[tuple[str, Sample], ...]:
    """Return the input of a dead-letter queue's alarm."""
    of = (f"${{{queue}.QueueName}}", "AWS/SQS", 3600)
    return (
        ("sent", Sample("Sum", "NumberOfMessagesSent", *of)),
        ("held", Sample("Maximum", "ApproximateNumberOfMessagesVisible", *of)),
    )


ARRIVED = (("arrived", "FILL(MAX([sent, growth]), 0)"), ("growth", "DIFF(FILL(held, 0))"))
EITHER = "SUM([dispatcher, worker])"
EVENTS = "${EventsQueue.QueueName}"
DISPATCHER = "${DispatcherFunction}"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"

NOTIFIED = {"Fn::If": ["HasAlarmTopicArn", {"Ref": "AlarmTopicArn"}, {"Ref": "AlarmTopic"}]}

ALARMS = {
    "RejectedEventsAlarm": Alarm(
        *(None, ABOVE, 0), expressions=ARRIVED, samples=arrivals("EventsDeadLetterQueue")
    ),
    "ExhaustedDeliveriesAlarm": Alarm(
        *(None, ABOVE, "${AlarmExhaustedPerHour}"),
        expressions=ARRIVED,
        samples=arrivals("DeadLetterQueue"),
    ),
    "QuietEventsWaitingAlarm": Alarm(
        Sample("Maximum", "ApproximateAgeOfOldestMessageInQuietGroups", EVENTS, "AWS/SQS"),
        *(ABOVE, 600),
    ),
    "OldestEventAlarm": Alarm(
        Sample("Maximum", "OldestEventAge", "dispatcher", seconds=900), ABOVE, 3_600_000
    ),
    "EventsWaitingAlarm": Alarm(
        *(None, ABOVE, 600),
        expressions=(
            ("oldest", "FILL(MAX([seconds, queued]), 0)"),
            ("seconds", "received / 1000"),
        ),
        samples=(
            ("received", Sample("Maximum", "OldestEventAge", "dispatcher", seconds=900)),
            (
                "queued",
                Sample("Maximum", "ApproximateAgeOfOldestMessage", EVENTS, "AWS/SQS", 900),
            ),
        ),
    ),
    "DispatcherErrorsAlarm": Alarm(Sample("Sum", "Errors", DISPATCHER, "AWS/Lambda"), ABOVE, 0),
    "DispatcherThrottlesAlarm": Alarm(
        Sample("Sum", "Throttles", DISPATCHER, "AWS/Lambda"), ABOVE, 0, periods=3
    ),
    "SuccessRateAlarm": Alarm(
        *(None, BELOW, 50),
        periods=3,
        expressions=(
            ("rate", "IF(SUM([taken, failed]) >= 100, 100 * taken / SUM([taken, failed]), 100)"),
        ),
        samples=(
            ("taken", Sample("Sum", "Succeeded", "dispatcher")),
            ("failed", Sample("Sum", "FailedAttempts", "dispatcher")),
        ),
    ),
    "LatencyAlarm": Alarm(
        *(None, ABOVE, 20_000),
        periods=3,
        expressions=(("slowest", "IF(taken >= 100, latency, 0)"),),
        samples=(
            ("latency", Sample("p99", "DeliveryLatency", "dispatcher")),
            ("taken", Sample("SampleCount", "DeliveryLatency", "dispatcher")),
        ),
    ),
    "FailedRetriesAlarm": Alarm(
        Sample("Sum", "ExecutionsFailed", "${RetryStateMachine}", "AWS/States"), ABOVE, 0
    ),
    "FailedJobsAlarm": Alarm(
        Sample("Sum", "ExecutionsFailed", "${JobStateMachine}", "AWS/States"), ABOVE, 0
    ),
    "SecretMissingAlarm": Alarm(
        *(None, ABOVE, 0),
        expressions=(("missing", EITHER),),
        samples=(
            ("dispatcher", Sample("Sum", "SecretMissing", "dispatcher")),
            ("worker", Sample("Sum", "SecretMissing", "worker")),
        ),
    ),
    "UnreadableRecordsAlarm": Alarm(
        *(None, ABOVE, 0),
        expressions=(("unreadable", EITHER),),
        samples=(
            ("dispatcher", Sample("Sum", "UnreadableRecords", "dispatcher")),
            ("worker", Sample("Sum", "UnreadableRecords", "worker")),
        ),
    ),
    "UnstartedRetriesAlarm": Alarm(
        *(None, ABOVE, 0),
        expressions=(("unstarted", EITHER),),
        samples=(
            ("dispatcher", Sample("Sum", "UnstartedRetries", "dispatcher")),
            ("worker", Sample("Sum", "UnstartedRetries", "worker")),
        ),
    ),
    "OperationalEventsAlarm": Alarm(
        *(None, ABOVE, 0),
        expressions=(("unpublished", "SUM([dispatcher, worker, overdue])"),),
        samples=(
            ("dispatcher", Sample("Sum", "LostOperationalEvents", "dispatcher")),
            ("worker", Sample("Sum", "LostOperationalEvents", "worker")),
            ("overdue", Sample("Sum", "OverdueOperationalEvents", "worker")),
        ),
    ),
    "UndeliveredOperationalEventsAlarm": Alarm(
        Sample("Sum", "FailedInvocations", "${OperationalEventsRule}", "AWS/Events"), ABOVE, 0
    ),
    "OverdueDeliveriesAlarm": Alarm(Sample("Sum", "OverdueDeliveries", "worker"), ABOVE, 0),
    "OverdueRecoveriesAlarm": Alarm(Sample("Sum", "OverdueRecoveries", "worker"), ABOVE, 0),
    "OverdueJobsAlarm": Alarm(Sample("Sum", "OverdueJobs", "worker"), ABOVE, 0),
    "SweepMissingAlarm": Alarm(
        *(None, BELOW, 1),
        periods=2,
        missing="breaching",
        expressions=(("sweeps", "FILL(counted, 0)"),),
        samples=(("counted", Sample("SampleCount", "OverdueDeliveries", "worker")),),
    ),
}
"""Every alarm and its condition. A change of an alarm is a change of this table."""


def as_in_the_table(alarm: dict[str, Any]) -> tuple[Alarm, set[str]]:
    """Return an alarm of the template as an entry of the table, and the rest of its properties."""
    left = dict(alarm)
    sample, expressions, samples = None, [], []
    if "MetricName" in alarm:
        sample = sampled(left, left.pop("Statistic"), left.pop("Period"))
        for name in ("MetricName", "Namespace", "Dimensions"):
            left.pop(name)
    for number, part in enumerate(left.pop("Metrics", [])):
        # Only the first is compared; its inputs are not.
        assert part.get("ReturnData", True) is (number == 0)
        if "Expression" in part:
            assert ("Label" in part) is (number == 0)
            expressions.append((part["Id"], part["Expression"]))
        else:
            stat = part["MetricStat"]
            assert set(stat) == {"Metric", "Stat", "Period"}
            samples.append((part["Id"], sampled(stat["Metric"], stat["Stat"], stat["Period"])))
    names = ("ComparisonOperator", "Threshold", "EvaluationPeriods", "TreatMissingData")
    comparison, threshold, periods, missing = (left.pop(name) for name in names)
    made = Alarm(
        sample=sample,
        comparison=comparison,
        threshold=text(threshold) if isinstance(threshold, dict) else threshold,
        periods=periods,
        missing=missing,
        expressions=tuple(expressions),
        samples=tuple(samples),
    )
    return made, set(left)


def sampled(metric: dict[str, Any], statistic: str, seconds: int) -> Sample:
    [dimension] = metric["Dimensions"]
    return Sample(
        *(statistic, metric["MetricName"], text(dimension["Value"])),
        *(text(metric["Namespace"]), seconds),
    )


def test_the_table_has_every_alarm() -> None:
    assert set(ALARMS) == set(of_type("AWS::CloudWatch::Alarm"))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_goes_off_as_the_table_says_and_notifies_both_ends(name: str) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")[name]
    made, left = as_in_the_table(alarm)
    assert made == ALARMS[name]
    warm_up = {"WarmUpConfiguration"} if name == "SweepMissingAlarm" else set()
    assert left == {"AlarmDescription", "AlarmActions", "OKActions"} | warm_up
    assert alarm["AlarmActions"] == alarm["OKActions"] == [NOTIFIED]


def test_the_alarm_of_no_sweep_is_not_evaluated_before_its_time() -> None:
    assert of_type("AWS::CloudWatch::Alarm")["SweepMissingAlarm"]["WarmUpConfiguration"] == {
        "WarmUpPeriodDurationInMinutes": 30,
        "OnlyStartEvaluatingAfterWarmUpPeriodEnds": True,
    }


ACT_NOW = {"QuietEventsWaitingAlarm", "OldestEventAlarm", "SuccessRateAlarm", "SweepMissingAlarm"}
"""Customers miss events, or would without any notice: reason to wake a person."""


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarms_description_begins_with_how_urgent_it_is(name: str) -> None:
    """The message to the topic has the description, so that a subscription can filter by it."""
    said = of_type("AWS::CloudWatch::Alarm")[name]["AlarmDescription"]
    assert said.startswith("Act now. " if name in ACT_NOW else "Look today. ")
    assert len(said) <= 1024


def test_the_page_about_operations_has_the_same_urgency() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| \[(\w+Alarm)\]\(#\w+\) \| (\S+) \|", page, re.MULTILINE))
    assert told == {name: "**now**" if name in ACT_NOW else "today" for name in ALARMS}
