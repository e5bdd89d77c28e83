"""The states of each alarm, by the rules of CloudWatch's guide (`cloudwatch.py`).

Nothing here evaluates alarms as AWS does: moto stores them and evaluates none. Where the guide is
unclear, both readings are tried, and an alarm has to be right under either.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from integration.template.cloudwatch import (
    ALARM,
    INSUFFICIENT_DATA,
    OK,
    Evaluation,
    Reading,
    compared,
    metric_name,
)
from support.translated_template import of_type, translated
from webhooks.domain.resending import delay_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.template.cloudwatch import Samples

MINUTE, HOUR, DAY = 60, 3600, 86_400

EVALUATIONS = [Evaluation(*open_) for open_ in itertools.product(Reading, (1, 2, 5))]


@cache
def alarms() -> dict[str, dict[str, Any]]:
    """Return the alarms with the defaults of their parameters."""
    return {
        name: {**alarm, "Threshold": _default(alarm["Threshold"])}
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items()
    }


def _default(value: Any) -> float:
    if isinstance(value, dict):
        value = translated()["Parameters"][value["Ref"]]["Default"]
    return float(value)


def states(alarm: str | Mapping[str, Any], samples: Samples, now: float) -> set[str]:
    """Return the states that an alarm, or the alarm of that name, may have by the guide."""
    properties = alarms()[alarm] if isinstance(alarm, str) else alarm
    return {one.state(properties, samples, now) for one in EVALUATIONS}


def every_minute(value: float, start: float, end: float) -> list[tuple[float, float]]:
    return [(float(second), value) for second in range(int(start), int(end), MINUTE)]


def sweeps(start: float, end: float) -> Samples:
    """Return the counts of completed sweeps, one a minute, where there is nothing to do."""
    counted = ("OverdueDeliveries", "OverdueRecoveries", "OverdueJobs")
    return {f"{name} of worker": every_minute(0, start, end) for name in counted}


def idle_queues(end: float) -> Samples:
    """Return SQS's metrics of queues that are used and empty."""
    names = ("NumberOfMessagesSent", "ApproximateNumberOfMessagesVisible")
    queues = ("EventsQueue", "EventsDeadLetterQueue", "DeadLetterQueue")
    ages = "ApproximateAgeOfOldestMessageInQuietGroups of ${EventsQueue.QueueName}"
    zeros = every_minute(0, 0, end)
    return {
        **{f"{name} of ${{{queue}.QueueName}}": zeros for name in names for queue in queues},
        ages: zeros,
    }


A_TABLE = [
    # Points in the form of the guide's table, the most recent last; 3 of 3, and the states with
    # missing data breaching and not breaching.
    ("0-X-X", OK, OK),
    ("0----", OK, OK),
    ("-----", ALARM, OK),
    ("0XX-X", ALARM, ALARM),
    ("--X--", ALARM, OK),
]


@pytest.mark.parametrize(("points", "breaching", "not_breaching"), A_TABLE)
def test_missing_points_are_judged_as_in_the_guides_table(
    points: str, breaching: str, not_breaching: str
) -> None:
    """The table of *How alarm state is evaluated when data is missing*."""
    read = [{"0": 0.0, "X": 1.0, "-": None}[point] for point in reversed(points)]
    alarm = {
        "EvaluationPeriods": 3,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    assert compared(read, {**alarm, "TreatMissingData": "breaching"}) == breaching
    assert compared(read, {**alarm, "TreatMissingData": "notBreaching"}) == not_breaching


FIRST_SWEEPS = [2 * MINUTE, 9 * MINUTE, 25 * MINUTE]
"""Alarms need no function, so they may be made long before the rule of the sweep is."""


@pytest.mark.parametrize("first", FIRST_SWEEPS)
@pytest.mark.parametrize("name", alarms())
def test_no_alarm_is_on_in_the_first_half_hour_of_an_empty_stack(name: str, first: int) -> None:
    end = 31 * MINUTE
    for samples in (sweeps(first, end), {**sweeps(first, end), **idle_queues(end)}):
        for now in range(0, end, MINUTE):
            assert ALARM not in states(name, samples, now), now


def test_without_its_warm_up_a_new_stack_would_be_in_alarm() -> None:
    """The tests above would notice it."""
    alarm = {**alarms()["SweepMissingAlarm"]}
    del alarm["WarmUpConfiguration"]
    assert states(alarm, sweeps(2 * MINUTE, HOUR), MINUTE) == {ALARM}


def test_a_sweep_that_never_runs_is_seen_once_the_stack_is_half_an_hour_old() -> None:
    alarm = alarms()["SweepMissingAlarm"]
    assert states(alarm, {}, 29 * MINUTE) == {INSUFFICIENT_DATA}
    assert states(alarm, {}, 31 * MINUTE) == {ALARM}


@pytest.mark.parametrize("stops", [40 * MINUTE, DAY])
def test_a_sweep_that_stops_is_seen_after_ten_minutes_and_stays_seen(stops: int) -> None:
    alarm = alarms()["SweepMissingAlarm"]
    samples = sweeps(2 * MINUTE, stops)
    assert states(alarm, samples, stops + 4 * MINUTE) == {OK}
    for minutes in (11, 30, 120):
        assert states(alarm, samples, stops + minutes * MINUTE) == {ALARM}


@pytest.mark.parametrize("name", alarms())
def test_no_alarm_is_on_for_a_deployment_in_which_nothing_is_published(name: str) -> None:
    """A function's update takes seconds; a gap of four minutes is far more."""
    before, after = sweeps(0, 3 * HOUR), sweeps(3 * HOUR + 5 * MINUTE, 4 * HOUR)
    samples = {metric: [*before[metric], *after[metric]] for metric in before}
    for now in range(3 * HOUR - MINUTE, 4 * HOUR, MINUTE):
        assert ALARM not in states(name, samples, now), now


class Trouble(NamedTuple):
    """The samples of one metric that turn an alarm on: a value each minute for so long."""

    metric: str
    value: float
    minutes: int = 1


def _sums_of_both(name: str) -> list[Trouble]:
    return [Trouble(f"{name} of {service}", 1) for service in ("dispatcher", "worker")]


EVENTS, DELIVERIES = "${EventsDeadLetterQueue.QueueName}", "${DeadLetterQueue.QueueName}"
QUEUE = "${EventsQueue.QueueName}"
DISPATCHER = "${DispatcherFunction}"

TROUBLES: dict[str, list[Trouble]] = {
    "RejectedEventsAlarm": [Trouble(f"NumberOfMessagesSent of {EVENTS}", 1)],
    "ExhaustedDeliveriesAlarm": [Trouble(f"NumberOfMessagesSent of {DELIVERIES}", 1)],
    "QuietEventsWaitingAlarm": [
        Trouble(f"ApproximateAgeOfOldestMessageInQuietGroups of {QUEUE}", 601)
    ],
    "OldestEventAlarm": [Trouble("OldestEventAge of dispatcher", HOUR * 1000 + 1)],
    # Sent again for ten minutes, each time as a new message; and messages that are never received.
    "EventsWaitingAlarm": [
        Trouble("OldestEventAge of dispatcher", 600_001),
        Trouble(f"ApproximateAgeOfOldestMessage of {QUEUE}", 601),
    ],
    "DispatcherErrorsAlarm": [Trouble(f"Errors of {DISPATCHER}", 1)],
    "DispatcherThrottlesAlarm": [Trouble(f"Throttles of {DISPATCHER}", 1, minutes=15)],
    "LatencyAlarm": [],
    "SuccessRateAlarm": [],
    "FailedRetriesAlarm": [Trouble("ExecutionsFailed of ${RetryStateMachine}", 1)],
    "FailedJobsAlarm": [Trouble("ExecutionsFailed of ${JobStateMachine}", 1)],
    "SecretMissingAlarm": _sums_of_both("SecretMissing"),
    "UnreadableRecordsAlarm": _sums_of_both("UnreadableRecords"),
    "UnstartedRetriesAlarm": _sums_of_both("UnstartedRetries"),
    "OperationalEventsAlarm": [
        *_sums_of_both("LostOperationalEvents"),
        Trouble("OverdueOperationalEvents of worker", 1),
    ],
    "UndeliveredOperationalEventsAlarm": [
        Trouble("FailedInvocations of ${OperationalEventsRule}", 1)
    ],
    "OverdueDeliveriesAlarm": [Trouble("OverdueDeliveries of worker", 1)],
    "OverdueRecoveriesAlarm": [Trouble("OverdueRecoveries of worker", 1)],
    "OverdueJobsAlarm": [Trouble("OverdueJobs of worker", 1)],
}
"""Each alarm, and every metric that alone turns it on. Two alarms, below, need more."""


def test_every_alarm_has_its_troubles_but_that_of_no_sweep() -> None:
    assert set(alarms()) == {*TROUBLES, "SweepMissingAlarm"}


@pytest.mark.parametrize(
    ("name", "trouble"),
    [(name, trouble) for name, troubles in TROUBLES.items() for trouble in troubles],
    ids=str,
)
def test_each_metric_alone_turns_its_alarm_on_and_nothing_keeps_it_on(
    name: str, trouble: Trouble
) -> None:
    """No other metric of the alarm was ever published: the stack's other functions idle."""
    alarm = alarms()[name]
    start = 5 * HOUR
    end = start + trouble.minutes * MINUTE
    samples = {trouble.metric: every_minute(trouble.value, start, end)}
    assert states(alarm, samples, start - MINUTE) == {OK}
    assert states(alarm, samples, end) == {ALARM}
    assert states(alarm, samples, end + 7 * HOUR) == {OK}


class Arrivals(NamedTuple):
    """A way into a dead-letter queue: whether SQS counts the messages as sent."""

    alarm: str
    queue: str
    counted: bool


WAYS = {
    "a dispatcher or EventBridge sends": Arrivals("RejectedEventsAlarm", EVENTS, counted=True),
    "SQS moves after 1,000 receives": Arrivals("RejectedEventsAlarm", EVENTS, counted=False),
    "an execution sends": Arrivals("ExhaustedDeliveriesAlarm", DELIVERIES, counted=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_dead_letter_is_notified_once_and_the_next_thousand_again(way: str) -> None:
    """One message stays for days. The alarm is off an hour after it, and on for the next ones."""
    name, queue, counted = WAYS[way]
    first, second, end = DAY, 3 * DAY, 4 * DAY
    samples = {
        f"ApproximateNumberOfMessagesVisible of {queue}": [
            *every_minute(0, first - HOUR, first),
            *every_minute(1, first, second),
            *every_minute(1_001, second, end),
        ]
    }
    if counted:
        samples[f"NumberOfMessagesSent of {queue}"] = [
            (float(first), 1.0),
            (float(second), 1_000.0),
        ]
    found = {
        hours: states(name, samples, hours * HOUR + MINUTE)
        for hours in (23, 24, 26, 48, 71, 72, 74, 90)
    }
    on = (24, 72)
    assert found == {hours: {ALARM if hours in on else OK} for hours in found}


def test_a_first_message_that_sqs_moves_to_an_unused_queue_is_notified() -> None:
    """A queue without messages and requests has no metrics: its first point is the message."""
    samples = {f"ApproximateNumberOfMessagesVisible of {EVENTS}": every_minute(1, DAY, 2 * DAY)}
    alarm = alarms()["RejectedEventsAlarm"]
    assert states(alarm, samples, DAY + MINUTE) == {ALARM}
    assert states(alarm, samples, DAY + 10 * HOUR) == {OK}


def test_messages_that_a_redrive_takes_away_or_holds_turn_no_alarm_on() -> None:
    """A reader that hides messages for some minutes and returns them is no arrival."""
    held = f"ApproximateNumberOfMessagesVisible of {DELIVERIES}"
    samples = {
        held: [
            *every_minute(100, 0, 10 * HOUR),
            *every_minute(20, 10 * HOUR, 10 * HOUR + 10 * MINUTE),
            *every_minute(100, 10 * HOUR + 10 * MINUTE, 11 * HOUR),
            *every_minute(0, 11 * HOUR, 15 * HOUR),
        ]
    }
    for now in range(9 * HOUR, 15 * HOUR, MINUTE):
        assert states("ExhaustedDeliveriesAlarm", samples, now) == {OK}


@pytest.mark.parametrize(
    ("allowed", "arrived", "state"), [(0, 1, ALARM), (100, 100, OK), (100, 101, ALARM)]
)
def test_a_stack_may_have_its_usual_number_of_exhausted_deliveries(
    allowed: int, arrived: int, state: str
) -> None:
    alarm = alarms()["ExhaustedDeliveriesAlarm"] | {"Threshold": allowed}
    samples = {f"NumberOfMessagesSent of {DELIVERIES}": [(DAY, arrived)]}
    assert states(alarm, samples, DAY + MINUTE) == {state}
    [threshold] = [
        one["Threshold"]
        for name, one in of_type("AWS::CloudWatch::Alarm").items()
        if name == "ExhaustedDeliveriesAlarm"
    ]
    assert threshold == {"Ref": "AlarmExhaustedPerHour"}


RATES = [
    # accepted, failed: in five minutes
    (20, 79, OK),
    (20, 80, ALARM),
    (1_000, 400, OK),
    (400, 1_000, ALARM),
    (49, 50, OK),
    (0, 100, ALARM),
]


@pytest.mark.parametrize(("taken", "failed", "state"), RATES)
def test_the_success_rate_counts_where_there_is_traffic_also_where_nothing_succeeds(
    taken: int, failed: int, state: str
) -> None:
    """A failure counts `Succeeded` as zero (`cloudwatch.Reading`)."""
    windows = [DAY + minutes * MINUTE for minutes in (1, 6, 11)]
    samples = {
        "Succeeded of dispatcher": [(second, taken) for second in windows],
        "FailedAttempts of dispatcher": [(second, failed) for second in windows],
    }
    assert states("SuccessRateAlarm", samples, DAY + 15 * MINUTE) == {state}


def test_a_stack_whose_attempts_all_succeed_has_no_alarm() -> None:
    samples = {"Succeeded of dispatcher": every_minute(1_000, 0, HOUR)}
    assert states("SuccessRateAlarm", samples, HOUR) == {OK}


@pytest.mark.parametrize(
    ("deliveries", "latency", "state"), [(33, 400_000, OK), (34, 20_001, ALARM), (34, 11_000, OK)]
)
def test_the_latency_counts_where_there_is_traffic(
    deliveries: int, latency: int, state: str
) -> None:
    """A third of the deliveries in each of the three periods that are compared."""
    times = [
        (DAY + minutes * MINUTE, latency) for minutes in (1, 6, 11) for _ in range(3 * deliveries)
    ]
    samples = {"DeliveryLatency of dispatcher": times}
    assert states("LatencyAlarm", samples, DAY + 15 * MINUTE) == {state}


@pytest.mark.parametrize("extra_metric", ["OldestEventAge of dispatcher", None])
def test_one_crashed_batch_is_no_event_that_waits(extra_metric: str | None) -> None:
    """Its messages come back after six minutes, the queue's visibility time-out."""
    queue = of_type("AWS::SQS::Queue")["EventsQueue"]["VisibilityTimeout"]
    samples: dict[str, list[tuple[float, float]]] = {
        f"ApproximateAgeOfOldestMessage of {QUEUE}": [(DAY, queue)],
        f"ApproximateAgeOfOldestMessageInQuietGroups of {QUEUE}": [(DAY, queue)],
    }
    if extra_metric:
        samples[extra_metric] = [(DAY, queue * 1000)]
    for name in ("QuietEventsWaitingAlarm", "EventsWaitingAlarm", "OldestEventAlarm"):
        assert states(name, samples, DAY + MINUTE) == {OK}


def test_one_accounts_flood_turns_on_what_can_wait_and_nothing_that_must_be_acted_on() -> None:
    samples = {
        **sweeps(0, HOUR),
        f"ApproximateAgeOfOldestMessage of {QUEUE}": every_minute(1_800, 0, HOUR),
        f"ApproximateAgeOfOldestMessageInQuietGroups of {QUEUE}": every_minute(2, 0, HOUR),
        "OldestEventAge of dispatcher": every_minute(1_800_000, 0, HOUR),
    }
    on = [name for name in alarms() if states(name, samples, HOUR) != {OK}]
    assert on == ["EventsWaitingAlarm"]


@pytest.mark.parametrize("name", ["OldestEventAlarm", "EventsWaitingAlarm"])
def test_an_event_that_fails_is_received_again_within_the_alarms_period(name: str) -> None:
    alarm = alarms()[name]
    parts = [part["MetricStat"] for part in alarm.get("Metrics", []) if "MetricStat" in part]
    for period in [one["Period"] for one in parts or [alarm]]:
        assert delay_seconds(10**6, 1.0) <= period


def test_the_sweep_runs_often_enough_for_its_alarm() -> None:
    [schedule] = [
        rule["ScheduleExpression"]
        for rule in of_type("AWS::Events::Rule").values()
        if "sweep" in str(rule)
    ]
    assert schedule == "rate(1 minute)"


def test_every_metric_of_the_tests_is_one_of_an_alarm() -> None:
    watched = {
        metric_name(part)
        for alarm in alarms().values()
        for part in [
            one["MetricStat"]["Metric"]
            for one in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}])
            if "MetricStat" in one
        ]
    }
    told = {trouble.metric for troubles in TROUBLES.values() for trouble in troubles}
    assert told <= watched
