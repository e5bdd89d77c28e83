"""Every alarm of the template, and when it goes off."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from support.translated_template import OWN, of_type, text
from webhooks.domain.resending import delay_seconds


class Sample(NamedTuple):
    """What an alarm takes of a metric: whose it is, as `text` writes it, and how often."""

    statistic: str
    name: str
    of: str
    namespace: str = OWN
    seconds: int = 300


class Alarm(NamedTuple):
    """When an alarm goes off: what it compares, and how many periods in a row.

    An expression's samples have the names that it calls them by.
    """

    sample: Sample | None
    comparison: str
    threshold: float
    periods: int = 1
    missing: str = "notBreaching"
    expression: str = ""
    samples: tuple[tuple[str, Sample], ...] = ()


ON_THE_QUEUE = "ApproximateNumberOfMessagesVisible"
EITHER = "FILL(dispatcher, 0) + FILL(worker, 0)"
DISPATCHER = "${DispatcherFunction}"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"

ALARMS = {
    "RejectedEventsAlarm": Alarm(
        Sample("Maximum", ON_THE_QUEUE, "${EventsDeadLetterQueue.QueueName}", "AWS/SQS"), ABOVE, 0
    ),
    "ExhaustedDeliveriesAlarm": Alarm(
        Sample("Maximum", ON_THE_QUEUE, "${DeadLetterQueue.QueueName}", "AWS/SQS"), ABOVE, 0
    ),
    "EventsWaitingAlarm": Alarm(
        *(None, ABOVE, 600),
        expression=(
            "IF(FILL(received, 0) / 1000 > FILL(queued, 0), FILL(received, 0) / 1000, "
            "FILL(queued, 0))"
        ),
        samples=(
            ("received", Sample("Maximum", "OldestEventAge", "dispatcher", seconds=900)),
            (
                "queued",
                Sample(
                    *("Maximum", "ApproximateAgeOfOldestMessage", "${EventsQueue.QueueName}"),
                    *("AWS/SQS", 900),
                ),
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
        expression=(
            "IF(FILL(taken, 0) + FILL(failed, 0) >= 100, "
            "100 * FILL(taken, 0) / (FILL(taken, 0) + FILL(failed, 0)), 100)"
        ),
        samples=(
            ("taken", Sample("Sum", "Succeeded", "dispatcher")),
            ("failed", Sample("Sum", "FailedAttempts", "dispatcher")),
        ),
    ),
    "LatencyAlarm": Alarm(
        *(None, ABOVE, 20_000),
        periods=3,
        expression="IF(taken >= 100, latency, 0)",
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
        expression=EITHER,
        samples=(
            ("dispatcher", Sample("Sum", "SecretMissing", "dispatcher")),
            ("worker", Sample("Sum", "SecretMissing", "worker")),
        ),
    ),
    "UnreadableRecordsAlarm": Alarm(
        *(None, ABOVE, 0),
        expression=EITHER,
        samples=(
            ("dispatcher", Sample("Sum", "UnreadableRecords", "dispatcher")),
            ("worker", Sample("Sum", "UnreadableRecords", "worker")),
        ),
    ),
    "UnstartedRetriesAlarm": Alarm(
        *(None, ABOVE, 0),
        expression=EITHER,
        samples=(
            ("dispatcher", Sample("Sum", "UnstartedRetries", "dispatcher")),
            ("worker", Sample("Sum", "UnstartedRetries", "worker")),
        ),
    ),
    "OperationalEventsAlarm": Alarm(
        *(None, ABOVE, 0),
        expression="FILL(dispatcher, 0) + FILL(worker, 0) + FILL(overdue, 0)",
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
        expression="FILL(counted, 0)",
        samples=(("counted", Sample("SampleCount", "OverdueDeliveries", "worker")),),
    ),
}
"""Every alarm, and when it goes off. A change of one is a change of this table."""


def as_in_the_table(alarm: dict[str, Any]) -> tuple[Alarm, set[str]]:
    """Return what an alarm of the template is in the table, and what it says besides."""
    left = dict(alarm)
    sample, expression, samples = None, "", []
    if "MetricName" in alarm:
        sample = sampled(left, left.pop("Statistic"), left.pop("Period"))
        for name in ("MetricName", "Namespace", "Dimensions"):
            left.pop(name)
    else:
        # The one expression is what is compared: what it is made of is not.
        first, *others = left.pop("Metrics")
        assert set(first) == {"Id", "Expression", "Label"}
        expression = first["Expression"]
        for one in others:
            assert set(one) == {"Id", "ReturnData", "MetricStat"}
            assert one["ReturnData"] is False
            stat = one["MetricStat"]
            assert set(stat) == {"Metric", "Stat", "Period"}
            samples.append((one["Id"], sampled(stat["Metric"], stat["Stat"], stat["Period"])))
    names = ("ComparisonOperator", "Threshold", "EvaluationPeriods", "TreatMissingData")
    comparison, threshold, periods, missing = (left.pop(name) for name in names)
    made = Alarm(
        sample, comparison, threshold, periods, missing, expression, samples=tuple(samples)
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
def test_an_alarm_goes_off_as_the_table_says_and_tells_of_both_its_ends(name: str) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")[name]
    made, left = as_in_the_table(alarm)
    assert made == ALARMS[name]
    assert left == {"AlarmDescription", "AlarmActions", "OKActions"}
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]


def evaluated(alarm: str, **metrics: float) -> float:
    """Return what an alarm's expression comes to, by the meaning of IF and FILL."""
    [expression] = [
        part["Expression"]
        for part in of_type("AWS::CloudWatch::Alarm")[alarm]["Metrics"]
        if "Expression" in part
    ]
    meaning = {
        "IF": lambda condition, yes, no: yes if condition else no,
        "FILL": lambda value, absent: absent if value is None else value,
    }
    return float(eval(expression, {"__builtins__": {}}, {**meaning, **metrics}))  # noqa: S307


@pytest.mark.parametrize(
    ("taken", "failed", "fires"),
    [(20, 79, False), (20, 80, True), (1_000, 400, False), (400, 1_000, True), (49, 50, False)],
)
def test_the_success_rate_counts_where_there_is_traffic(
    taken: int, failed: int, fires: bool
) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")["SuccessRateAlarm"]
    rate = evaluated("SuccessRateAlarm", taken=taken, failed=failed)
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert (rate < alarm["Threshold"]) is fires


@pytest.mark.parametrize(
    ("taken", "latency", "fires"),
    [(99, 400_000, False), (100, 20_001, True), (100, 11_000, False)],
)
def test_the_latency_counts_where_there_is_traffic(taken: int, latency: int, fires: bool) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")["LatencyAlarm"]
    slowest = evaluated("LatencyAlarm", taken=taken, latency=latency)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert (slowest > alarm["Threshold"]) is fires


@pytest.mark.parametrize(
    ("received", "queued", "fires"),
    [
        (600_001, 5, True),  # sent again for ten minutes, each time as a new message
        (None, 601, True),  # no dispatcher runs
        (300_000, 360, False),  # one message that the batch's answer brought back
        (None, None, False),
    ],
)
def test_events_that_wait_are_seen_in_the_queue_and_where_they_are_received(
    received: int | None, queued: int | None, fires: bool
) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")["EventsWaitingAlarm"]
    oldest = evaluated("EventsWaitingAlarm", received=received, queued=queued)  # type: ignore[arg-type]
    assert (oldest > alarm["Threshold"]) is fires
    # What is sent again comes up at least once in a period.
    periods = {part["MetricStat"]["Period"] for part in alarm["Metrics"] if "MetricStat" in part}
    assert delay_seconds(10**6, 1.0) <= min(periods)


@pytest.mark.parametrize(("sweeps", "fires"), [(None, True), (0, True), (1, False), (2, False)])
def test_a_sweep_that_is_missing_is_seen_and_one_that_finds_nothing_is_none(
    sweeps: int | None, fires: bool
) -> None:
    """A data point of zero counts as one, and so is a whole alarm without any."""
    alarm = of_type("AWS::CloudWatch::Alarm")["SweepMissingAlarm"]
    [schedule] = [
        properties["ScheduleExpression"]
        for properties in of_type("AWS::Events::Rule").values()
        if "sweep" in json.dumps(properties)
    ]
    counted = evaluated("SweepMissingAlarm", counted=sweeps)  # type: ignore[arg-type]
    [sample] = [part["MetricStat"] for part in alarm["Metrics"] if "MetricStat" in part]
    assert (sample["Stat"], sample["Period"]) == ("SampleCount", 300)
    assert schedule == "rate(1 minute)"
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert (counted < alarm["Threshold"]) is fires
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["EvaluationPeriods"] * sample["Period"] == 10 * 60
