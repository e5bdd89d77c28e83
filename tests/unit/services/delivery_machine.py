"""Deliveries that go on by themselves, for Hypothesis."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from support import samples
from support.fakes import FakeRateLimitStore
from support.fakes.schedulers import Name
from support.service_fixture import ServiceFixture
from unit.services.watched_deliveries import (
    Executions,
    Inline,
    LossyDeliveryStore,
    Recoveries,
    Recovering,
)
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit
from webhooks.domain.rate_limit import RateLimit
from webhooks.services.rate_limits import RateLimits
from webhooks.services.redriver import Redriver
from webhooks.services.retrier import Decision
from webhooks.services.webhooks import WebhookService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
BUSY = Outcome(FailureReason.HTTP_STATUS, status_code=503, retry_after_seconds=900)
GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410)
TAKEN = Outcome(status_code=200)

indexes = st.integers(0, 30)
webhooks = st.sampled_from([1, 2])
outcomes = st.sampled_from([TAKEN, REFUSED, REFUSED, BUSY, GONE])


class DeliveryMachine(RuleBasedStateMachine):
    """Deliveries that are received, retried when they are due, and swept."""

    @initialize(
        first=outcomes,
        second=outcomes,
        events=st.integers(0, 12),
        schedule=st.sampled_from([(5.0,), (5.0, 300.0)]),
    )
    def begin(
        self, first: Outcome, second: Outcome, events: int, schedule: tuple[float, ...]
    ) -> None:
        self.store = LossyDeliveryStore(len(schedule) + 1)
        self.services = ServiceFixture(deliveries=self.store, schedule=schedule, recovery_rate=3)
        self.executions = self.services.scheduler = Executions(self.services.clock)
        self.recoveries = self.services.recoveries = Recoveries(self.services.clock)
        for owner, name in (
            (self.services.dispatcher.threads, "attempts"),
            (self.services.recovery_job, "_threads"),
        ):
            getattr(owner, name).shutdown()
            setattr(owner, name, Inline())
        for number in (1, 2):
            self.services.add(number, account_id=f"acc_{number}")
        self.webhook_service = WebhookService(
            self.services.store,
            recoveries=self.recoveries,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits={RateLimit.ENABLES: 1_000_000},
                telemetry=self.services.telemetry,
                clock=self.services.clock,
            ),
            telemetry=self.services.telemetry,
            check_url=lambda _: None,
            resolve=lambda _: [],
            is_public=lambda _: True,
            max_webhooks=2,
            max_webhooks_per_host=2,
            cursor_key=b"key",
            now_ns=lambda: self.services.now_ms * 1_000_000,
            random_bytes=self.random_bytes,
        )
        self.redriver = Redriver(self.store, self.executions, self.services.clock)
        self.answers = {1: first, 2: second}
        self.services.sender.answer = self.answer
        self.unfinished: list[str] = []
        self.answered: list[tuple[Name, int]] = []
        self.dead_letters: Counter[Name] = Counter()
        self.stopped: set[Name] = set()
        self.by_hand = False
        self.interfered = False
        self.meanwhile: list[Callable[[], object]] = []
        self.drawn = 0
        for event in range(events):
            self.an_event_arrives(1 + event % 2, event)

    def random_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count)

    def answer(self, url: str, headers: Mapping[str, str]) -> Outcome:
        stored = [one for one in self.store.watched.values() if one.id == _delivery_id(headers)]
        if stored and stored[0].status.settled and not self.by_hand:
            self.store.watched.wrong.append(f"sent although {stored[0].status}")
        while self.meanwhile:
            with suppress(UnavailableError):
                self.meanwhile.pop()()
        return self.answers[1 if url == samples.webhook(1).url else 2]

    @rule(number=webhooks, event=st.integers(0, 12))
    def an_event_arrives(self, number: int, event: int) -> None:
        text = samples.event_text(
            account_id=f"acc_{number}",
            transaction_id=f"txn_{event}",
            timestamp=f"2025-12-21T09:{event:02d}:00Z",
        )
        self.unfinished.append(text)
        self.messages_are_received()

    @rule()
    def messages_are_received(self) -> None:
        texts, self.unfinished = self.unfinished[:10], self.unfinished[10:]
        self.store.unrecorded.clear()
        before = len(self.services.sender.posts)
        down = {
            webhook.url
            for webhook, _ in self.services.store.webhooks.values()
            if webhook.health.circuit is Circuit.OPEN
        }
        failed = [texts[int(message_id[1:])] for message_id in self.services.send(*texts)]
        self.unfinished += failed
        # A webhook that is known to be down gets no first attempt: its event waits.
        assert not down & {url for url, _, _ in self.services.sender.posts[before:]}
        # After a success that is not recorded, the message must return.
        assert {*map(_of_delivery, self.store.unrecorded)} <= {*map(_of_message, failed)}

    @rule(index=indexes, times=st.integers(1, 6), answers_lost=st.integers(0, 2))
    def executions_go_on(self, index: int, times: int, answers_lost: int) -> None:
        for number in range(times):
            if self.executions.live:
                name = pick(self.executions.live, index + number // 3)
                self.services.now_ms = max(self.services.now_ms, self.executions.live[name].due_ms)
                self.run_execution(name, answers_lost)

    def run_execution(self, name: Name, answers_lost: int = 0) -> None:
        execution = self.executions.live[name]
        before = len(self.services.sender.posts)
        waiting = self.store.watched[name.key].status is Status.WAITING
        if execution.sent_dead_letter:
            with suppress(UnavailableError):
                self.services.retrier.note_dead_letter(name.key, name.generation)
                self.executions.end(name)
            return
        with suppress(UnavailableError):
            verdict = self.services.retry(name.key, execution.attempt, name.generation)
            assert verdict.seconds >= 0
            # A lost answer or a lost start may leave the delivery: the execution has no work then.
            assert not waiting or verdict.decision is Decision.DONE
            assert not waiting or len(self.services.sender.posts) == before
            made = verdict.delivery is None or verdict.delivery.next_attempt > execution.attempt
            # Another invocation has claimed the attempt: this execution waits for the lease's end.
            held = not made and verdict.decision is Decision.WAIT
            for _ in range(0 if held else answers_lost):
                # It may be called again long after the time that it waits for.
                self.services.now_ms += 400_000
                again = self.services.retry(name.key, execution.attempt, name.generation)
                assert again.decision == verdict.decision
                assert 0 <= again.seconds <= verdict.seconds
                verdict = again
            posts = [headers for _, _, headers in self.services.sender.posts[before:]]
            # One attempt; in a rotation's overlap it may offer each of the two secrets once.
            assert len({one["X-SendComms-Attempt"] for one in posts}) <= 1
            assert len(posts) == len({one["X-SendComms-Signature"] for one in posts}) <= 2
            if not held:
                self.answered.append((name, execution.attempt))
            if verdict.decision is Decision.WAIT:
                assert verdict.delivery is not None
                execution.attempt = verdict.delivery.scheduled_attempts + 1
                execution.due_ms = self.services.now_ms + int(verdict.seconds * 1000)
                return
            if verdict.decision is Decision.DEAD_LETTER:
                self.dead_letters[name] += 1
                execution.sent_dead_letter = True
                return
            self.executions.end(name)

    @rule(index=indexes, times=st.integers(1, 6))
    def a_recovery_makes_steps(self, index: int, times: int) -> None:
        for _ in range(times):
            if self.recoveries.live:
                one = self.recoveries.live[pick(self.recoveries.live, index)]
                self.services.now_ms = max(self.services.now_ms, one.due_ms)
                self.run_recovery(one)

    def run_recovery(self, one: Recovering) -> None:
        with suppress(UnavailableError):
            step = self.services.recovery_job.advance(
                one.key, one.step, lambda: self.services.remaining
            )
            if step is None:
                del self.recoveries.live[one.key.recovery_id]
            else:
                assert step.seconds >= 0
                one.step = step
                one.due_ms = self.services.now_ms + int(step.seconds * 1000)

    @rule()
    def the_sweeper_comes(self) -> None:
        worked_on = [
            delivery
            for key, delivery in self.store.watched.items()
            if Name.of(delivery) in self.executions.live
        ]
        with suppress(UnavailableError):
            self.services.sweep_job.sweep(lambda: self.services.remaining)
        for delivery in worked_on:
            assert _of_the_sweep(self.store.watched[delivery.key]) == _of_the_sweep(delivery)

    def parts(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "health": self.services.health_store,
            "executions": self.executions,
            "recoveries": self.recoveries,
            "reader": self.services.reader,
            "webhooks": self.services.store,
        }

    def at_rest(self) -> bool:
        settled = all(one.status.settled for one in self.store.watched.values())
        return settled and not self.unfinished and not self.executions.live

    def a_quarter_of_an_hour(self) -> None:
        """Let everything happen when it is due, without interference."""
        self.messages_are_received()
        end_ms = self.services.now_ms + 900_000
        while self.services.now_ms < end_ms:
            for name, execution in list(self.executions.live.items()):
                if execution.due_ms <= self.services.now_ms:
                    self.run_execution(name)
            for one in list(self.recoveries.live.values()):
                if one.due_ms <= self.services.now_ms:
                    self.run_recovery(one)
            due_ms = [one.due_ms for one in self.executions.live.values()]
            due_ms += [one.due_ms for one in self.recoveries.live.values()]
            self.services.now_ms = max(self.services.now_ms + 1000, min([end_ms, *due_ms]))
        self.the_sweeper_comes()


def pick(of: Any, index: int) -> Any:
    """Return one of the names."""
    return sorted(of)[index % len(of)]


def _of_the_sweep(delivery: Delivery) -> Delivery:
    """Return a delivery without the sweep's notes about a delivery that is worked on."""
    return replace(delivery, unstarted=False, expiring=False)


def _of_delivery(delivery: Delivery) -> tuple[str, str]:
    return delivery.account_id, json.loads(delivery.body)["transaction_id"]


def _of_message(text: str) -> tuple[str, str]:
    document = json.loads(text)
    return document["account_id"], document["transaction_id"]


def _delivery_id(headers: Mapping[str, str]) -> str:
    return headers["X-SendComms-Delivery"]
