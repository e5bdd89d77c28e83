"""What holds of every delivery, whatever happens and in whatever order.

Hypothesis plays the world: receivers that fail and heal, executions that are started, repeated,
answered in vain or stopped, our own side failing before and after a write, owners, an operator,
and time. The executions of Step Functions are kept here; the services are the real ones.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support import samples
from support.fakes import FakeDeliveryStore, FakeJobScheduler, FakeScheduler
from support.world import World
from webhooks.domain.delivery import Delivery, DeliveryKey, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.webhook import Secrets
from webhooks.ports import JobKey, WebhookChanges
from webhooks.services.redriver import Redriver
from webhooks.services.registry import Registry
from webhooks.services.retrier import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


Result = TypeVar("Result")

MOVES = {
    None: {Status.RETRYING, Status.WAITING, Status.SUCCEEDED},
    Status.RETRYING: {*Status} - {Status.PENDING},
    Status.WAITING: {*Status} - {Status.PENDING},
    # An owner's own attempt may arrive yet, and an operator may have the schedule begin anew.
    Status.EXHAUSTED: {Status.EXHAUSTED, Status.SUCCEEDED, Status.RETRYING},
    Status.SUCCEEDED: {Status.SUCCEEDED},
    Status.CANCELLED: {Status.CANCELLED},
}
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
BUSY = Outcome(FailureReason.HTTP_STATUS, status_code=503, retry_after_seconds=900)
GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410)
TAKEN = Outcome(status_code=200)

indexes = st.integers(0, 30)
webhooks = st.sampled_from([1, 2])
outcomes = st.sampled_from([TAKEN, REFUSED, REFUSED, BUSY, GONE])


class Inline(Executor):
    """Does at once what it is given, so that what happens is the same each time."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Watched(dict[DeliveryKey, Delivery]):
    """The stored deliveries, with what must never be written noted."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._attempts = attempts

    def __setitem__(self, key: DeliveryKey, delivery: Delivery) -> None:
        before = self.get(key)
        was = before.status if before else None
        if delivery.status not in MOVES[was]:
            self.wrong.append(f"{was} became {delivery.status}")
        known = before.attempts if before else ()
        if delivery.attempts[: len(known)] != known:
            self.wrong.append("an attempt was lost")
        if [one.number for one in delivery.attempts] != [*range(1, len(delivery.attempts) + 1)]:
            self.wrong.append("the attempts have a gap")
        if before and delivery.generation not in {before.generation, before.generation + 1}:
            self.wrong.append("a generation was left out")
        exhausted = delivery.status is Status.EXHAUSTED and was is not Status.EXHAUSTED
        # One that a receiver called gone at its last attempt is sent once more to its new place.
        gone = sum(one.scheduled and one.status_code == 410 for one in delivery.attempts)
        if exhausted and not 0 <= delivery.scheduled_attempts - self._attempts <= gone:
            self.wrong.append(f"exhausted after {delivery.scheduled_attempts} attempts")
        super().__setitem__(key, delivery)

    def setdefault(self, key: DeliveryKey, default: Any = None) -> Delivery:
        if key not in self:
            self[key] = default
        return self[key]


class LossyDeliveryStore(FakeDeliveryStore):
    """Makes a write whose answer is lost where it is told to."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self.watched = Watched(attempts)
        self.deliveries = self.watched
        self.lost_answers = 0
        self.unrecorded: list[Delivery] = []

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        unwritten = super().put_settled(deliveries)
        if self.lost_answers:
            self.lost_answers -= 1
            unwritten = [delivery.key for delivery in deliveries]
        self.unrecorded += [delivery for delivery in deliveries if delivery.key in unwritten]
        return unwritten

    def create(self, delivery: Delivery) -> Delivery:
        created = super().create(delivery)
        self._maybe_lose()
        return created

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        updated = super().update(delivery, before=before)
        self._maybe_lose()
        return updated

    def _maybe_lose(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            msg = "the answer was lost"
            raise UnavailableError(msg)


class Name(NamedTuple):
    """What an execution of the retry state machine is named after."""

    key: DeliveryKey
    generation: int


@dataclass
class Execution:
    attempt: int
    due_ms: int


class Executions(FakeScheduler):
    """The executions of the retry state machine that go on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.live: dict[Name, Execution] = {}
        self._clock = clock

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        name = Name(delivery.key, delivery.generation)
        known = name in self.generations
        assert delay_seconds >= 0
        super().start(delivery, delay_seconds=delay_seconds)
        if not known:
            due_ms = int((self._clock() + delay_seconds) * 1000)
            self.live[name] = Execution(delivery.scheduled_attempts + 1, due_ms)

    def end(self, name: Name) -> None:
        del self.live[name]
        self.generations[name] = False


@dataclass
class Recovering:
    key: RecoveryKey
    step: RecoveryState
    due_ms: int


class Recoveries(FakeJobScheduler):
    """The executions of the job state machine that go on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.live: dict[str, Recovering] = {}
        self._names: set[str] = set()
        self._clock = clock

    def start(self, key: JobKey, *, delay_seconds: float = 0) -> None:
        assert isinstance(key, RecoveryKey)
        assert delay_seconds >= 0
        super().start(key, delay_seconds=delay_seconds)
        if key.recovery_id not in self._names:
            self._names.add(key.recovery_id)
            due_ms = int((self._clock() + delay_seconds) * 1000)
            self.live[key.recovery_id] = Recovering(key, RecoveryState(0), due_ms)


class Deliveries(RuleBasedStateMachine):
    """Two accounts with a webhook each, and whatever may become of their deliveries."""

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
        self.world = World(deliveries=self.store, schedule=schedule, recovery_rate=3)
        self.executions = self.world.scheduler = Executions(self.world.clock)
        self.recoveries = self.world.recoveries = Recoveries(self.world.clock)
        for service in (self.world.dispatcher, self.world.recovery_job):
            service._threads.shutdown()
            service._threads = Inline()  # type: ignore[assignment]
        for number in (1, 2):
            self.world.add(number, account_id=f"acc_{number}")
        self.registry = Registry(
            self.world.store,
            recoveries=self.recoveries,
            observer=self.world.observer,
            check_url=lambda _: None,
            resolve=lambda _: [],
            is_public=lambda _: True,
            max_webhooks=2,
            max_webhooks_per_host=2,
            cursor_key=b"key",
            now_ns=lambda: self.world.now_ms * 1_000_000,
            random_bytes=self.random_bytes,
        )
        self.redriver = Redriver(self.store, self.executions, self.world.clock)
        self.answers = {1: first, 2: second}
        self.world.sender.answer = self.answer
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
            timestamp=f"2025-12-21T10:{event:02d}:00Z",
        )
        self.unfinished.append(text)
        self.messages_are_received()

    @rule()
    def messages_are_received(self) -> None:
        texts, self.unfinished = self.unfinished[:10], self.unfinished[10:]
        self.store.unrecorded.clear()
        before = len(self.world.sender.posts)
        down = {
            webhook.url
            for webhook, _ in self.world.store.webhooks.values()
            if webhook.health.circuit is Circuit.OPEN
        }
        failed = [texts[int(message_id[1:])] for message_id in self.world.send(*texts)]
        self.unfinished += failed
        # A first attempt is not for a webhook that is known to be down: its event waits.
        assert not down & {url for url, _, _ in self.world.sender.posts[before:]}
        # A success that is not recorded must have its message come again.
        assert {*map(_of_delivery, self.store.unrecorded)} <= {*map(_of_message, failed)}

    @rule(number=webhooks, outcome=outcomes)
    def a_receiver_changes(self, number: int, outcome: Outcome) -> None:
        self.answers[number] = outcome

    @rule(number=webhooks)
    def a_receiver_heals_for_a_while(self, number: int) -> None:
        self.answers[number] = TAKEN
        self.a_quarter_of_an_hour()

    @rule(number=webhooks, first=st.integers(13, 40))
    def a_receiver_goes_down_under_load(self, number: int, first: int) -> None:
        self.answers[number] = REFUSED
        for event in range(first, first + 11):
            self.an_event_arrives(number, event)

    @rule(index=indexes, times=st.integers(1, 6), answers_lost=st.integers(0, 2))
    def executions_go_on(self, index: int, times: int, answers_lost: int) -> None:
        for number in range(times):
            if self.executions.live:
                name = _pick(self.executions.live, index + number // 3)
                self.world.now_ms = max(self.world.now_ms, self.executions.live[name].due_ms)
                self.run_execution(name, answers_lost)

    def run_execution(self, name: Name, answers_lost: int = 0) -> None:
        execution = self.executions.live[name]
        before = len(self.world.sender.posts)
        waiting = self.store.watched[name.key].status is Status.WAITING
        with suppress(UnavailableError):
            verdict = self.world.retrier.retry(name.key, execution.attempt, name.generation)
            assert verdict.seconds >= 0
            # It may be left where an answer was lost, or its start: there is nothing for it to do.
            assert not waiting or verdict.decision is Decision.DONE
            assert not waiting or len(self.world.sender.posts) == before
            for _ in range(answers_lost):
                # It may be asked again when what it has to wait for is long due.
                self.world.now_ms += 400_000
                again = self.world.retrier.retry(name.key, execution.attempt, name.generation)
                assert again.decision == verdict.decision
                assert 0 <= again.seconds <= verdict.seconds
                verdict = again
            assert len(self.world.sender.posts) <= before + 1
            self.answered.append((name, execution.attempt))
            if verdict.decision is Decision.WAIT:
                assert verdict.delivery is not None
                execution.attempt = verdict.delivery.scheduled_attempts + 1
                execution.due_ms = self.world.now_ms + int(verdict.seconds * 1000)
                return
            if verdict.decision is Decision.DEAD_LETTER:
                self.dead_letters[name] += 1
            self.executions.end(name)

    @rule(index=indexes)
    def an_old_step_comes_again(self, index: int) -> None:
        if self.answered:
            name, attempt = self.answered[index % len(self.answered)]
            before = len(self.world.sender.posts)
            with suppress(UnavailableError):
                verdict = self.world.retrier.retry(name.key, attempt, name.generation)
                # However long ago what it is told to wait for was due.
                assert verdict.seconds >= 0
            assert len(self.world.sender.posts) == before

    @rule(index=indexes, attempt=st.integers(1, 6), away=st.sampled_from([-1, 1, 2]))
    def an_execution_of_another_generation_acts(self, index: int, attempt: int, away: int) -> None:
        if self.store.watched:
            key = _pick(self.store.watched, index)
            before, posts = self.store.watched[key], len(self.world.sender.posts)
            with suppress(UnavailableError):
                self.world.retrier.retry(key, attempt, before.generation + away)
            assert self.store.watched[key] == before
            assert len(self.world.sender.posts) == posts

    @rule(index=indexes)
    def an_operator_stops_an_execution(self, index: int) -> None:
        if self.executions.live:
            name = _pick(self.executions.live, index)
            self.executions.end(name)
            self.stopped.add(name)
            self.interfered = True

    @rule(index=indexes, times=st.integers(1, 6))
    def a_recovery_makes_steps(self, index: int, times: int) -> None:
        for _ in range(times):
            if self.recoveries.live:
                one = self.recoveries.live[_pick(self.recoveries.live, index)]
                self.world.now_ms = max(self.world.now_ms, one.due_ms)
                self.run_recovery(one)

    def run_recovery(self, one: Recovering) -> None:
        with suppress(UnavailableError):
            step = self.world.recovery_job.advance(one.key, one.step, lambda: self.world.remaining)
            if step is None:
                del self.recoveries.live[one.key.recovery_id]
            else:
                assert step.seconds >= 0
                one.step = step
                one.due_ms = self.world.now_ms + int(step.seconds * 1000)

    @rule(index=indexes)
    def an_operator_stops_a_recovery(self, index: int) -> None:
        # One of a deleted webhook is known to nobody else: what it would have cancelled, and is
        # never sent, stays as it is until its retention ends.
        known = [
            name
            for name, one in self.recoveries.live.items()
            if self.world.store.get(*one.key[:2]) is not None
        ]
        if known:
            del self.recoveries.live[_pick(known, index)]

    @rule()
    def the_sweeper_comes(self) -> None:
        worked_on = [
            delivery
            for key, delivery in self.store.watched.items()
            if Name(key, delivery.generation) in self.executions.live
        ]
        with suppress(UnavailableError):
            self.world.sweep_job.sweep(lambda: self.world.remaining)
        for delivery in worked_on:
            assert self.store.watched[delivery.key] == delivery

    @rule(index=indexes, times=st.integers(1, 3), outcome=outcomes)
    def an_owner_sends_again(self, index: int, times: int, outcome: Outcome) -> None:
        answers, self.answers, self.by_hand = self.answers, {1: outcome, 2: outcome}, True
        for number in range(times):
            if self.store.watched:
                with suppress(UnavailableError):
                    self.world.retrier.resend(_pick(self.store.watched, index + number))
        self.answers, self.by_hand = answers, False

    @rule(index=indexes)
    def an_operator_redrives(self, index: int) -> None:
        if self.dead_letters:
            name = _pick(self.dead_letters, index)
            delivery = self.store.watched[name.key]
            busy = Name(name.key, delivery.generation) in self.executions.live
            # One of the sweep's that only waits does not keep an operator from it.
            due_ms = delivery.next_attempt_at_ms or 0
            busy = busy and not (delivery.restarts and due_ms > self.world.now_ms)
            with suppress(UnavailableError):
                self.redriver.redrive(name.key)
            assert not busy or self.store.watched[name.key] == delivery

    @rule(number=webhooks, active=st.booleans())
    def an_owner_switches(self, number: int, active: bool) -> None:
        with suppress(UnavailableError):
            self.registry.update(*_owner(number), WebhookChanges(active=active))

    @rule(number=webhooks)
    def an_owner_moves(self, number: int) -> None:
        with suppress(UnavailableError):
            changes = WebhookChanges(url=samples.webhook(number).url)
            self.registry.update(*_owner(number), changes)

    @rule(number=webhooks, really=st.sampled_from([False] * 5 + [True]))
    def an_owner_deletes(self, number: int, really: bool) -> None:
        if really:
            with suppress(UnavailableError):
                self.registry.delete(*_owner(number))

    @rule(number=webhooks, event=st.integers(41, 45))
    def a_secret_goes_missing(self, number: int, event: int) -> None:
        webhook = self.world.store.get(*_owner(number))
        if webhook is not None:
            self.world.store.add(webhook, Secrets(None))
        self.an_event_arrives(number, event)

    @rule(number=webhooks)
    def an_owner_rotates_the_secret(self, number: int) -> None:
        with suppress(UnavailableError):
            self.registry.rotate_secret(*_owner(number))

    @rule(
        number=webhooks,
        what=st.sampled_from(["disables", "enables", "moves", "rotates", "deletes"]),
        outcome=outcomes,
        event=st.integers(46, 59),
    )
    def an_owner_acts_while_a_request_is_on_its_way(
        self, number: int, what: str, outcome: Outcome, event: int
    ) -> None:
        """What the sender knows of the webhook is then of the past; its answer is this one."""
        owner = _owner(number)
        changes = {
            "disables": WebhookChanges(active=False),
            "enables": WebhookChanges(active=True),
            "moves": WebhookChanges(url=samples.webhook(number).url),
        }

        def act() -> object:
            self.world.now_ms += 1
            if what == "rotates":
                return self.registry.rotate_secret(*owner)
            if what == "deletes":
                return self.registry.delete(*owner)
            return self.registry.update(*owner, changes[what])

        self.meanwhile.append(act)
        self.answers[number] = outcome
        self.an_event_arrives(number, event)
        self.meanwhile.clear()

    @rule(seconds=st.sampled_from([1, 30, 300, 700, 7_200, 86_400, 2 * 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.world.now_ms += seconds * 1000

    @rule(
        where=st.sampled_from(
            [("store", method) for method in ("get", "get_many", "create", "update", "put_settled")]
            + [("health", method) for method in ("failed", "open", "succeeded", "keep", "end")]
            + [("executions", "start"), ("recoveries", "start"), ("walk", "batch")]
            + [("webhooks", "destination"), ("webhooks", "destinations")]
        ),
        calls=st.lists(st.booleans(), min_size=1, max_size=3),
    )
    def our_own_side_is_about_to_fail(self, where: tuple[str, str], calls: list[bool]) -> None:
        self.parts()[where[0]].failures.plan(where[1], *calls)
        self.interfered = True

    @rule(count=st.integers(1, 2))
    def answers_are_about_to_be_lost(self, count: int) -> None:
        self.store.lost_answers = count
        self.interfered = True

    def parts(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "health": self.world.health_store,
            "executions": self.executions,
            "recoveries": self.recoveries,
            "walk": self.world.walk,
            "webhooks": self.world.store,
        }

    @invariant()
    def nothing_wrong_was_written_or_sent(self) -> None:
        assert self.store.watched.wrong == []

    @invariant()
    def no_bug_showed(self) -> None:
        assert [
            line for line in self.world.observer.logged("message_failed") if "stack" in line
        ] == []

    @invariant()
    def a_webhook_has_a_recovery_just_while_its_circuit_is_not_closed(self) -> None:
        for webhook, _ in self.world.store.webhooks.values():
            closed = webhook.health.circuit is Circuit.CLOSED
            assert closed == (webhook.health.recovery_id is None)

    @invariant()
    def a_dead_letter_is_written_once(self) -> None:
        assert all(count == 1 for count in self.dead_letters.values())

    def teardown(self) -> None:
        """Let all be well, and see that nothing is stranded."""
        if not hasattr(self, "drawn"):
            return
        self.answers = {1: TAKEN, 2: TAKEN}
        self.store.lost_answers = 0
        self.meanwhile.clear()
        for part in self.parts().values():
            part.failures = type(part.failures)()
        for _ in range(80):
            if self.at_rest():
                break
            self.switch_on()
            self.a_quarter_of_an_hour()
        left = {key: one for key, one in self.store.watched.items() if not one.status.settled}
        assert left == {}
        assert self.unfinished == []
        self.nothing_wrong_was_written_or_sent()
        # Without a fault of ours, and with nobody who stops what runs, nothing is ever overdue.
        assert self.interfered or self.world.observer.counts.get("OverdueDeliveries", 0) == 0
        for key, delivery in self.store.watched.items():
            name = Name(key, delivery.generation)
            told = self.dead_letters[name] == 1
            assert told or delivery.status is not Status.EXHAUSTED or name in self.stopped

    def at_rest(self) -> bool:
        settled = all(one.status.settled for one in self.store.watched.values())
        return settled and not self.unfinished and not self.executions.live

    def switch_on(self) -> None:
        for number in (1, 2):
            found = self.world.store.destination(*_owner(number))
            if found is not None and found.secrets.current is None:
                self.registry.rotate_secret(*_owner(number))
            if found is not None and not found.webhook.active:
                self.registry.update(*_owner(number), WebhookChanges(active=True))

    def a_quarter_of_an_hour(self) -> None:
        """Let everything happen when it is due, as it does where nobody interferes."""
        self.messages_are_received()
        end_ms = self.world.now_ms + 900_000
        while self.world.now_ms < end_ms:
            for name, execution in list(self.executions.live.items()):
                if execution.due_ms <= self.world.now_ms:
                    self.run_execution(name)
            for one in list(self.recoveries.live.values()):
                if one.due_ms <= self.world.now_ms:
                    self.run_recovery(one)
            due_ms = [one.due_ms for one in self.executions.live.values()]
            due_ms += [one.due_ms for one in self.recoveries.live.values()]
            self.world.now_ms = max(self.world.now_ms + 1000, min([end_ms, *due_ms]))
        self.the_sweeper_comes()


def _pick(of: Any, index: int) -> Any:
    """Return one of some names."""
    return sorted(of)[index % len(of)]


def _owner(number: int) -> tuple[str, str]:
    return f"acc_{number}", samples.webhook(number).id


def _of_delivery(delivery: Delivery) -> tuple[str, str]:
    return delivery.account_id, json.loads(delivery.body)["transaction_id"]


def _of_message(text: str) -> tuple[str, str]:
    document = json.loads(text)
    return document["account_id"], document["transaction_id"]


def _delivery_id(headers: Mapping[str, str]) -> str:
    return headers["X-SendComms-Delivery"]


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=100,
    # The same examples each time: what a search finds must not stop another change.
    derandomize=True,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
