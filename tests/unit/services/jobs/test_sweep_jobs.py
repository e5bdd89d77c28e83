"""Jobs that stand still are started again: the first start was lost, or an execution died."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support import samples
from support.fakes import FakeJobScheduler, FakeRateLimitStore
from support.service_fixture import ServiceFixture
from webhooks.domain.errors import UnavailableError, UnreadableRecordError
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus, digest, erasure_id
from webhooks.domain.jobs.run import MAX_RESTARTS, START_SECONDS, Run
from webhooks.domain.rate_limit import RateLimit
from webhooks.services.jobs.erasure import ErasureService
from webhooks.services.jobs.sweep import Swept
from webhooks.services.rate_limits import RateLimits

DUE_MS = samples.NOW_MS + int(START_SECONDS * 1000)
ADDRESS = "ada@example.com"


class Killed(BaseException):
    """The process is gone."""


class JobSweepFixture(ServiceFixture):
    """An account that requests an erasure."""

    def __init__(self) -> None:
        super().__init__()
        self.add()
        self.started = FakeJobScheduler()

    def erase(self, scheduler: Any = None) -> Erasure:
        service = ErasureService(
            store=self.erasures,
            scheduler=scheduler or self.started,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits={RateLimit.ERASURES: 10},
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            now_ns=lambda: self.now_ms * 1_000_000,
            random_bytes=bytes,
        )
        return service.start("acc_1", ADDRESS)

    def sweep(self) -> Swept:
        return self.sweep_job.sweep(lambda: self.remaining)

    def stored(self) -> Erasure:
        [erasure] = self.erasures.jobs.values()
        return erasure

    def step(self, run: int) -> object:
        return self.erasure_job.step(self.stored().key, lambda: 45.0, {"run": run})


class Deadly(FakeJobScheduler):
    def start(self, *_: Any, **__: Any) -> None:
        raise Killed


@pytest.fixture
def services() -> JobSweepFixture:
    return JobSweepFixture()


def test_a_job_whose_function_was_killed_before_its_start_is_started(
    services: JobSweepFixture,
) -> None:
    with pytest.raises(Killed):
        services.erase(Deadly())
    services.now_ms = DUE_MS
    assert services.sweep() == Swept()
    services.now_ms = DUE_MS + 1
    assert services.sweep() == Swept(overdue_jobs=1)
    assert services.recoveries.runs == [(services.stored().key, 1)]
    assert services.stored().running
    assert services.telemetry.counts["OverdueJobs"] == 1
    assert services.telemetry.logged("job_overdue")[0]["erasure_id"] == services.stored().id
    assert services.sweep() == Swept()
    assert services.step(1) is not None


def test_a_job_that_makes_steps_is_left_alone(services: JobSweepFixture) -> None:
    services.erase()
    for _ in range(10):
        services.now_ms += 60_000
        services.step(0)
        assert services.sweep() == Swept()
        if not services.stored().running:
            break
    assert services.stored().status is ErasureStatus.COMPLETED
    services.now_ms += 86_400_000
    assert services.sweep() == Swept()


def test_of_two_executions_only_the_last_makes_steps(services: JobSweepFixture) -> None:
    """The first one may have been slow and not dead."""
    services.erase()
    services.now_ms = DUE_MS + 1
    assert services.sweep() == Swept(overdue_jobs=1)
    before = services.stored()
    assert services.step(0) is None
    services.erasure_job.abandon(before.key, {"run": 0})
    assert services.stored() == before
    services.step(1)
    assert services.stored().steps == 1


def test_a_job_that_was_restarted_often_in_vain_has_failed(services: JobSweepFixture) -> None:
    services.erase()
    restarts = 0
    while services.stored().running:
        services.now_ms = services.stored().run.due_at_ms + 1
        assert services.sweep() == Swept(overdue_jobs=1)
        restarts += services.stored().running
    assert restarts == MAX_RESTARTS
    assert services.stored().status is ErasureStatus.FAILED
    assert services.stored().reason == "internal_error"
    assert [line["erasure_id"] for line in services.telemetry.logged("job_abandoned")] == [
        services.stored().id
    ]


def test_a_start_that_fails_in_an_outage_is_made_soon_after_it(services: JobSweepFixture) -> None:
    services.recoveries.failures.plan("start", *[True] * 30)
    with pytest.raises(Killed):
        services.erase(Deadly())
    services.now_ms = DUE_MS + 1
    for _ in range(30):
        with pytest.raises(UnavailableError):
            services.sweep()
        services.now_ms += 60_000
    assert services.sweep() == Swept(overdue_jobs=1)
    assert [run for _, run in services.recoveries.runs] == [31]
    assert services.recoveries.started[-1][1] == 0


def test_a_record_that_could_not_be_marked_in_an_outage_is_started_by_the_sweep(
    services: JobSweepFixture,
) -> None:
    services.started.failures.plan("start", True)
    services.erasures.failures.plan("save", True)
    with pytest.raises(UnavailableError):
        services.erase()
    assert services.stored().running
    services.now_ms = DUE_MS + 1
    assert services.sweep() == Swept(overdue_jobs=1)
    assert services.recoveries.runs == [(services.stored().key, 1)]


def test_a_call_that_finds_its_job_running_sees_that_it_was_started(
    services: JobSweepFixture,
) -> None:
    with pytest.raises(Killed):
        services.erase(Deadly())
    assert services.erase() == services.stored()
    assert services.started.runs == [(services.stored().key, 0)]
    services.now_ms = DUE_MS + 1
    services.sweep()
    services.erase()
    assert services.started.runs[-1] == (services.stored().key, 1)


def test_a_call_whose_running_job_cannot_be_started_does_not_say_that_it_runs(
    services: JobSweepFixture,
) -> None:
    services.erase()
    services.started.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        services.erase()


def test_two_sweeps_at_once_start_a_job_once(services: JobSweepFixture) -> None:
    services.erase()
    services.now_ms = DUE_MS + 1
    save = services.erasures.save

    def meanwhile(before: Erasure, after: Erasure) -> bool:
        assert save(before, replace(before, run=before.run.restarted(services.now_ms + 7)))
        return save(before, replace(after, updated_at_ms=after.updated_at_ms + 1))

    services.erasures.save = meanwhile  # type: ignore[method-assign]
    assert services.sweep() == Swept()
    assert services.recoveries.runs == []


def test_one_that_fails_or_cannot_be_read_keeps_no_other_from_its_turn(
    services: JobSweepFixture,
) -> None:
    for number in range(3):
        now_ns = (samples.NOW_MS + number) * 1_000_000
        services.erasures.create(
            Erasure(
                account_id="acc_1",
                id=erasure_id(now_ns, bytes(8)),
                created_at_ms=samples.NOW_MS,
                updated_at_ms=samples.NOW_MS,
                salt=bytes(32),
                digest=digest(bytes(32), ADDRESS),
                run=Run(due_at_ms=DUE_MS + number),
            )
        )
    unreadable, failing, other = services.erasures.jobs
    get = services.erasures.get

    def broken(key: Any) -> Erasure | None:
        if key == unreadable:
            raise UnreadableRecordError(key)
        if key == failing:
            raise UnavailableError
        return get(key)

    services.erasures.get = broken  # type: ignore[method-assign]
    services.now_ms = DUE_MS + 10
    with pytest.raises(UnavailableError):
        services.sweep()
    assert services.recoveries.runs == [(other, 1)]
    [line] = services.telemetry.logged("record_unreadable")
    assert line["erasure_id"] == unreadable.erasure_id
