"""A job's run: the age at which its execution counts as dead, and its replacements."""

from __future__ import annotations

from support import samples
from webhooks.domain.jobs.run import MAX_RESTARTS, Run, run_name

NOW_MS = samples.NOW_MS


def test_most_steps_leave_the_index_as_it_is() -> None:
    run, moves = Run.first(NOW_MS), 0
    for second in range(600):
        after = run.kept(NOW_MS + second * 1000, 1)
        assert after.due_at_ms > NOW_MS + (second + 1) * 1000 + 60_000, "a slow step has its time"
        moves += after.due_at_ms != run.due_at_ms
        run = after
    assert moves <= 5


def test_a_step_that_is_due_later_is_waited_for() -> None:
    assert Run.first(NOW_MS).kept(NOW_MS, 90).due_at_ms > NOW_MS + 90_000 + 120_000


def test_a_restarted_run_has_another_name_and_a_step_forgives_its_restarts() -> None:
    first = Run.first(NOW_MS)
    again = first.restarted(NOW_MS)
    assert (again.number, again.restarts) == (1, 1)
    assert run_name("job", first.number) == "job"
    assert run_name("job", again.number) == "job-run1"
    after = again.kept(NOW_MS, 1)
    assert (after.number, after.restarts) == (1, 0)


def test_restarts_in_vain_come_to_an_end_after_hours() -> None:
    run, now_ms = Run.first(NOW_MS), NOW_MS
    while not run.in_vain:
        now_ms = run.due_at_ms + 1
        run = run.restarted(now_ms)
    assert run.number == MAX_RESTARTS
    assert 5 * 3600 < (run.due_at_ms - NOW_MS) / 1000 < 10 * 3600


def test_a_start_that_fails_is_no_restart_in_vain() -> None:
    run = Run.first(NOW_MS)
    for _ in range(3 * MAX_RESTARTS):
        run = run.restarted(run.due_at_ms).unstarted(run.due_at_ms)
    assert not run.in_vain
    assert run.restart_delay == 0
