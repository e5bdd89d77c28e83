"""Replays to receivers with a limit of requests a second, and to receivers under strain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.fakes import FakeJobStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import FailureReason, Outcome, Status, delivery_id
from webhooks.domain.drain_rate import PATIENCE, SLOWEST
from webhooks.domain.health import CLEAN
from webhooks.domain.jobs.replay import Replay, ReplayStatus, select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TAKEN = Outcome(status_code=200)
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=503)
LIMITED = Outcome(FailureReason.HTTP_STATUS, status_code=429)
RATE = 10
DAY = 86_400


class ReplayRateFixture(ServiceFixture):
    """A webhook that missed deliveries, and its replay."""

    def __init__(self, count: int, status: Status = Status.EXHAUSTED) -> None:
        super().__init__()
        self.add()
        self.missed = [self._missed(number, count, status) for number in range(count)]
        self.store_of_replays = FakeJobStore[Replay]()
        selection = select("2025-12-01T00:00:00Z", None, status.value, self.now_ms)
        self.begun = Replay(
            "acc_1", samples.WEBHOOK_ID, "replay-1", selection, self.now_ms, self.now_ms
        )
        self.store_of_replays.create(self.begun)
        self.state: Mapping[str, Any] = {}
        self.job = self.make_replay_job(self.store_of_replays, per_second=RATE)
        self.waits: list[float] = []

    def _missed(self, number: int, count: int, status: Status) -> str:
        event_id = f"evt_{number}"
        one = samples.delivery(
            id=delivery_id(event_id, samples.NOW_MS - 1000 * (count - number), samples.WEBHOOK_ID),
            event_id=event_id,
            status=status,
            next_attempt_at_ms=None,
        )
        return self.put(one).id

    @property
    def replay(self) -> Replay:
        found = self.store_of_replays.get(self.begun.key)
        assert found is not None
        return found

    def step(self) -> bool:
        following = self.job.step(self.begun.key, lambda: 60.0, self.state)
        if following is None:
            return False
        self.state = following.state
        self.waits.append(following.seconds)
        self.now_ms += int(following.seconds * 1000)
        return True

    def run(self, seconds: float = DAY) -> None:
        end_ms = self.now_ms + seconds * 1000
        while self.step():
            assert self.now_ms < end_ms

    def limit(self, a_second: float) -> None:
        """Let the receiver accept so many a second, and answer all others with 429."""
        taken: Counter[int] = Counter()

        def answer(*_: object) -> Outcome:
            window = int(self.now_ms * a_second / 1000)
            taken[window] += 1
            return TAKEN if taken[window] == 1 else LIMITED

        self.sender.answer = answer

    def sent(self) -> Counter[str]:
        return Counter(headers["X-SendComms-Delivery"] for _, _, headers in self.sender.posts)


@pytest.mark.parametrize("status", [Status.EXHAUSTED, Status.SUCCEEDED])
@pytest.mark.parametrize("a_second", [1, 0.1])
def test_row_83_a_replay_goes_at_the_pace_of_its_receiver(a_second: float, status: Status) -> None:
    services = ReplayRateFixture(60, status)
    services.limit(a_second)
    taken: Counter[str] = Counter()
    receiver = services.sender.answer
    assert receiver is not None

    def noted(url: str, headers: Mapping[str, str]) -> Outcome:
        outcome = receiver(url, headers)
        taken[headers["X-SendComms-Delivery"]] += outcome is TAKEN
        return outcome

    services.sender.answer = noted
    services.run()
    ended = services.replay
    assert (ended.status, ended.sent, ended.failed) == (ReplayStatus.COMPLETED, 60, 0)
    # Each is accepted once, and few are refused.
    assert taken == dict.fromkeys(services.missed, 1)
    assert len(services.sender.posts) < 2 * 60
    assert services.webhook().health == CLEAN


def test_row_83_a_healthy_receiver_gets_the_full_rate() -> None:
    services = ReplayRateFixture(25)
    services.sender.answer = lambda *_: TAKEN
    services.run()
    assert services.waits == [1, 1]
    assert services.replay.pace is None
    assert services.state == {}


def test_row_83_a_receiver_under_strain_is_sent_fewer_and_its_failures_count() -> None:
    services = ReplayRateFixture(40)
    services.sender.answer = lambda *_: REFUSED
    services.step()
    assert (services.replay.failed, services.replay.pace) == (RATE, RATE / 2)
    services.run()
    assert services.replay.failed == 40
    assert max(services.waits) >= 1 / RATE
    assert services.replay.status is ReplayStatus.COMPLETED
    assert set(services.sent().values()) == {1}


def test_row_83_one_that_is_always_refused_is_passed_in_the_end() -> None:
    services = ReplayRateFixture(5)
    poison = services.missed[1]
    services.sender.answer = lambda _, headers: (
        LIMITED if headers["X-SendComms-Delivery"] == poison else TAKEN
    )
    services.run()
    ended = services.replay
    assert (ended.status, ended.sent, ended.succeeded) == (ReplayStatus.COMPLETED, 5, 4)
    assert services.sent() == {one: PATIENCE if one == poison else 1 for one in services.missed}
    assert max(services.waits) == 1 / SLOWEST


def test_row_83_a_replay_that_another_execution_goes_on_with_keeps_its_pace() -> None:
    services = ReplayRateFixture(20)
    services.sender.answer = lambda *_: LIMITED
    for _ in range(3):
        services.step()
    pace = services.replay.pace
    services.state = {}
    services.sender.posts.clear()
    services.step()
    assert len(services.sender.posts) == max(1, int(pace or RATE))
    assert services.replay.sent == 0
    assert services.replay.replayed_until_ms == services.replay.selection.since_ms


@pytest.mark.parametrize("status_code", [429, 503])
def test_row_83_what_is_to_be_sent_later_has_not_failed(status_code: int) -> None:
    """All requests of a step are on their way when the first response asks for a pause."""
    services = ReplayRateFixture(3 * RATE)
    until_ms = services.now_ms + 600_000
    asks = Outcome(FailureReason.HTTP_STATUS, status_code, retry_after_seconds=600)
    services.sender.answer = lambda *_: asks if services.now_ms < until_ms else TAKEN
    services.run()
    ended = services.replay
    assert (ended.status, ended.sent, ended.failed) == (ReplayStatus.COMPLETED, 3 * RATE, 0)
    assert len(services.sender.posts) == 4 * RATE
    assert services.waits[1] == 599
