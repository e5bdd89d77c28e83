"""How CloudWatch evaluates an alarm, as its guide writes it.

Sources, all in the CloudWatch user guide:

- *Alarm evaluation* and *Configuring how CloudWatch alarms treat missing data*. An alarm retrieves
  more data points than `EvaluationPeriods`: the evaluation range, whose length the guide does not
  say (five points for three in its tables). Where at least `EvaluationPeriods` of them exist, it
  compares the most recent that exist, however old, and `TreatMissingData` is ignored. Where fewer
  exist, it compares them all, and fills up with `TreatMissingData`. `DatapointsToAlarm` of them,
  all by default, have to breach.
- *Alarm warm-up periods*. Until the time of `WarmUpConfiguration` is over the alarm stays
  INSUFFICIENT_DATA and sends no notification; or until enough data fills its evaluation periods,
  unless `OnlyStartEvaluatingAfterWarmUpPeriodEnds`. The guide does not say whether FILL's points
  are data.
- *Using math expressions*. FILL gives the points that are missing a value, DIFF is the difference
  to the point before, SUM and MAX of a list go point by point through the series that have one, IF
  drops a point without a condition. The guide advises against SUM and MAX in alarms, as their
  result for a single series depends on the evaluation range; that of a list does not.

Two things are written unclearly, so that an alarm has to be right under either `Reading`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from support.translated_template import text

Alarm = Mapping[str, Any]
"""The properties of an alarm in the template."""

Samples = Mapping[str, Sequence[tuple[float, float]]]
"""The seconds and values that were published, by `metric_name`."""

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"

_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "p99": lambda values: sorted(values)[-(-99 * len(values) // 100) - 1],
}

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


class Reading(Enum):
    """A missing value in arithmetic, and FILL of a series without any.

    The guide says that arithmetic treats it as 0. Users report that the result is missing too, and
    that FILL returns nothing for a metric that was never published.
    """

    MISSING_IS_ZERO = "missing is zero"
    MISSING_STAYS_MISSING = "missing stays missing"


@dataclass(frozen=True)
class Series:
    """Data points, the most recent first; None is a point that is missing."""

    points: tuple[float | None, ...]
    reading: Reading

    def __rmul__(self, number: float) -> Series:
        return self._of(None if one is None else number * one for one in self.points)

    def __ge__(self, number: float) -> Series:
        return self._of(None if one is None else float(one >= number) for one in self.points)

    def __truediv__(self, other: Series | float) -> Series:
        others = other.points if isinstance(other, Series) else [other] * len(self.points)
        return self._of(map(self._quotient, self.points, others))

    def _quotient(self, one: float | None, other: float | None) -> float | None:
        if self.reading is Reading.MISSING_IS_ZERO and one is None and other is not None:
            one = 0.0
        # A point divided by zero is dropped, so a point that is missing below the line always is.
        return one / other if one is not None and other else None

    def _of(self, points: Iterable[float | None]) -> Series:
        return Series(tuple(points), self.reading)

    def filled(self, value: float) -> Series:
        """FILL."""
        nothing = all(one is None for one in self.points)
        if nothing and self.reading is Reading.MISSING_STAYS_MISSING:
            return self
        return self._of(value if one is None else one for one in self.points)

    def differences(self) -> Series:
        """DIFF: the oldest point has no difference."""
        found: list[float | None] = []
        before: float | None = None
        for one in reversed(self.points):
            found.append(None if one is None or before is None else one - before)
            before = before if one is None else one
        return self._of(reversed(found))


def _of_those_there(function: Callable[[list[float]], float]) -> Callable[[list[Series]], Series]:
    def of(series: list[Series]) -> Series:
        columns = zip(*(one.points for one in series), strict=True)
        there = ([value for value in column if value is not None] for column in columns)
        points = (float(function(values)) if values else None for values in there)
        return Series(tuple(points), series[0].reading)

    return of


def _if(condition: Series, yes: object, no: object) -> Series:
    def value(of: object, index: int) -> Any:
        return of.points[index] if isinstance(of, Series) else of

    chosen: list[float | None] = []
    for index, one in enumerate(condition.points):
        if one is None:
            chosen.append(None)
        elif one:
            taken = value(yes, index)
            chosen.append(0 if taken is None else taken)
        else:
            chosen.append(value(no, index))
    return Series(tuple(chosen), condition.reading)


_FUNCTIONS: dict[str, Any] = {
    "FILL": lambda series, value: series.filled(value),
    "DIFF": lambda series: series.differences(),
    "SUM": _of_those_there(sum),
    "MAX": _of_those_there(max),
    "IF": _if,
}


class _Values(dict[str, Any]):
    """The series of an alarm by their ids; an expression is evaluated on first use."""

    def __init__(self, expressions: Mapping[str, str], series: Mapping[str, Series]) -> None:
        super().__init__({**_FUNCTIONS, **series})
        self._expressions = expressions

    def __missing__(self, name: str) -> Series:
        return eval(self._expressions[name], {"__builtins__": {}}, self)  # type: ignore[no-any-return]  # noqa: S307


@dataclass(frozen=True)
class Evaluation:
    """The guide's rules, with its open points decided one way.

    `extra` are the data points of the evaluation range beyond `EvaluationPeriods`, one at least.
    """

    reading: Reading
    extra: int

    def state(self, alarm: Alarm, samples: Samples, now: float, *, made: float = 0) -> str:
        """Return an alarm's state at a second; `made` is the second of its creation."""
        points = self._watched(alarm, samples, now).points
        warm_up = alarm.get("WarmUpConfiguration", {"WarmUpPeriodDurationInMinutes": 0})
        enough = None not in points[: alarm["EvaluationPeriods"]]
        if warm_up.get("OnlyStartEvaluatingAfterWarmUpPeriodEnds", False):
            enough = False
        if now < made + 60 * warm_up["WarmUpPeriodDurationInMinutes"] and not enough:
            return INSUFFICIENT_DATA
        return compared(points, alarm)

    def _watched(self, alarm: Alarm, samples: Samples, now: float) -> Series:
        points = alarm["EvaluationPeriods"] + self.extra
        if "MetricName" in alarm:
            seen = Seen(alarm, alarm["Statistic"], alarm["Period"])
            return Series(seen.points(samples, now, points), self.reading)
        parts = {part["Id"]: part for part in alarm["Metrics"]}
        seen_by_id = {
            name: Seen(
                part["MetricStat"]["Metric"], *map(part["MetricStat"].get, ("Stat", "Period"))
            )
            for name, part in parts.items()
            if "MetricStat" in part
        }
        values = _Values(
            {name: part["Expression"] for name, part in parts.items() if "Expression" in part},
            {
                name: Series(seen.points(samples, now, points), self.reading)
                for name, seen in seen_by_id.items()
            },
        )
        [watched] = [name for name, part in parts.items() if part.get("ReturnData", True)]
        found: Series = values[watched]
        return found


class Seen(NamedTuple):
    """A metric as an alarm sees it."""

    metric: Mapping[str, Any]
    statistic: str
    period: int

    def points(self, samples: Samples, now: float, count: int) -> tuple[float | None, ...]:
        """Return so many data points, the most recent first."""
        return tuple(self._point(samples, now - index * self.period) for index in range(count))

    def _point(self, samples: Samples, end: float) -> float | None:
        found = samples.get(metric_name(self.metric), ())
        values = [value for second, value in found if end - self.period < second <= end]
        return float(_STATISTICS[self.statistic](values)) if values else None


def metric_name(metric: Mapping[str, Any]) -> str:
    """Return a metric's name in `Samples`."""
    [dimension] = metric["Dimensions"]
    return f"{metric['MetricName']} of {text(dimension['Value'])}"


def compared(points: Sequence[float | None], alarm: Alarm) -> str:
    """Return the state that data points give an alarm, the most recent point first."""
    periods = alarm["EvaluationPeriods"]
    breaches = _COMPARISONS[alarm["ComparisonOperator"]]
    there = [breaches(one, alarm["Threshold"]) for one in points if one is not None][:periods]
    missing = {"breaching": True, "notBreaching": False}[alarm["TreatMissingData"]]
    judged = there + [missing] * (periods - len(there))
    return ALARM if sum(judged) >= alarm.get("DatapointsToAlarm", periods) else OK
