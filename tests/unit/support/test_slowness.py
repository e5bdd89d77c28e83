"""Limits that grow with the slowness of the machine."""

from __future__ import annotations

from support.slowness import Slowness, measured, seconds


def test_a_limit_is_never_below_its_value_on_an_idle_machine() -> None:
    assert Slowness(lambda: 0.3).factor() == 1
    assert seconds(3) >= 3


def test_a_limit_has_an_end_however_slow_the_machine_is() -> None:
    assert measured() > 0
    assert Slowness(lambda: 1000.0).factor() == 40


def test_a_limit_does_not_sink_while_the_machine_is_quick_for_a_moment() -> None:
    found = iter([7.0, 2.0, 9.0])
    slowness = Slowness(lambda: next(found), fresh_seconds=-1)
    assert [slowness.factor() for _ in range(3)] == [7, 7, 9]


def test_a_measurement_holds_for_some_seconds() -> None:
    found = iter([3.0])
    slowness = Slowness(lambda: next(found))
    assert [slowness.factor() for _ in range(3)] == [3, 3, 3]
