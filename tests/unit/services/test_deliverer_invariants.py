"""The invariants of every delivery, under any events in any order.

Hypothesis plays the world: receivers that fail and heal, executions that are started, repeated,
answered in vain or stopped, our own side failing before and after a write, owners, an operator,
and time. The executions of Step Functions are fakes; the services are the real ones.
"""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from support import samples
from support.fakes.schedulers import Name
from unit.services.delivery_machine import (
    REFUSED,
    TAKEN,
    DeliveryMachine,
    indexes,
    outcomes,
    pick,
    webhooks,
)
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.errors import OverlapRunningError, UnavailableError
from webhooks.domain.health import Circuit
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges


class Deliveries(DeliveryMachine):
    """Two accounts with a webhook each, and all the states of their deliveries."""

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

    @rule(index=indexes)
    def an_old_step_comes_again(self, index: int) -> None:
        if self.answered:
            name, attempt = self.answered[index % len(self.answered)]
            before = len(self.services.sender.posts)
            with suppress(UnavailableError):
                verdict = self.services.retry(name.key, attempt, name.generation)
                # Even if the time that it has to wait for is long past.
                assert verdict.seconds >= 0
            assert len(self.services.sender.posts) == before

    @rule(index=indexes, attempt=st.integers(1, 6), away=st.sampled_from([-1, 1, 2]))
    def an_execution_of_another_generation_acts(self, index: int, attempt: int, away: int) -> None:
        if self.store.watched:
            key = pick(self.store.watched, index)
            before, posts = self.store.watched[key], len(self.services.sender.posts)
            with suppress(UnavailableError):
                self.services.retry(key, attempt, before.generation + away)
            assert self.store.watched[key] == before
            assert len(self.services.sender.posts) == posts

    @rule(index=indexes)
    def an_operator_stops_an_execution(self, index: int) -> None:
        if self.executions.live:
            name = pick(self.executions.live, index)
            self.executions.end(name)
            self.stopped.add(name)
            self.interfered = True

    @rule(index=indexes)
    def an_operator_stops_a_recovery(self, index: int) -> None:
        # Only the execution knew a delivery of a deleted webhook: the delivery that it would have
        # cancelled is never sent, and stays unchanged until its retention ends.
        known = [
            name
            for name, one in self.recoveries.live.items()
            if self.services.store.get(*one.key[:2]) is not None
        ]
        if known:
            del self.recoveries.live[pick(known, index)]

    @rule(index=indexes, times=st.integers(1, 3), outcome=outcomes)
    def an_owner_sends_again(self, index: int, times: int, outcome: Outcome) -> None:
        answers, self.answers, self.by_hand = self.answers, {1: outcome, 2: outcome}, True
        for number in range(times):
            if self.store.watched:
                with suppress(UnavailableError):
                    self.services.retrier.resend(pick(self.store.watched, index + number))
        self.answers, self.by_hand = answers, False

    @rule(index=indexes)
    def an_operator_redrives(self, index: int) -> None:
        if self.dead_letters:
            name = pick(self.dead_letters, index)
            delivery = self.store.watched[name.key]
            execution = self.executions.live.get(Name(name.key, delivery.generation))
            busy = execution is not None and not execution.sent_dead_letter
            # A sweep's execution that only waits does not keep an operator from it.
            due_ms = delivery.next_attempt_at_ms or 0
            busy = busy and not (delivery.restarts and due_ms > self.services.now_ms)
            with suppress(UnavailableError):
                self.redriver.redrive(name.key)
            assert not busy or self.store.watched[name.key] == delivery

    @rule(number=webhooks, active=st.booleans())
    def an_owner_switches(self, number: int, active: bool) -> None:
        with suppress(UnavailableError):
            self.webhook_service.update(*_owner(number), WebhookChanges(active=active))

    @rule(number=webhooks)
    def an_owner_moves(self, number: int) -> None:
        with suppress(UnavailableError):
            changes = WebhookChanges(url=samples.webhook(number).url)
            self.webhook_service.update(*_owner(number), changes)

    @rule(number=webhooks, really=st.sampled_from([False] * 5 + [True]))
    def an_owner_deletes(self, number: int, really: bool) -> None:
        if really:
            with suppress(UnavailableError):
                self.webhook_service.delete(*_owner(number))

    @rule(number=webhooks, event=st.integers(41, 45))
    def a_secret_goes_missing(self, number: int, event: int) -> None:
        webhook = self.services.store.get(*_owner(number))
        if webhook is not None:
            self.services.store.add(webhook, Secrets(None))
        self.an_event_arrives(number, event)

    @rule(number=webhooks)
    def an_owner_rotates_the_secret(self, number: int) -> None:
        with suppress(UnavailableError, OverlapRunningError):
            self.webhook_service.rotate_secret(*_owner(number))

    @rule(
        number=webhooks,
        what=st.sampled_from(["disables", "enables", "moves", "rotates", "deletes"]),
        outcome=outcomes,
        event=st.integers(46, 59),
    )
    def an_owner_acts_while_a_request_is_on_its_way(
        self, number: int, what: str, outcome: Outcome, event: int
    ) -> None:
        """The sender's view of the webhook is then out of date; this is the receiver's answer."""
        owner = _owner(number)
        changes = {
            "disables": WebhookChanges(active=False),
            "enables": WebhookChanges(active=True),
            "moves": WebhookChanges(url=samples.webhook(number).url),
        }

        def act() -> object:
            self.services.now_ms += 1
            if what == "rotates":
                return self.webhook_service.rotate_secret(*owner, force=True)
            if what == "deletes":
                return self.webhook_service.delete(*owner)
            return self.webhook_service.update(*owner, changes[what])

        self.meanwhile.append(act)
        self.answers[number] = outcome
        self.an_event_arrives(number, event)
        self.meanwhile.clear()

    @rule(seconds=st.sampled_from([1, 30, 300, 700, 7_200, 86_400, 2 * 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.services.now_ms += seconds * 1000

    @rule(
        where=st.sampled_from(
            [("store", method) for method in ("get", "get_many", "create", "update", "put_settled")]
            + [("health", method) for method in ("failed", "open", "succeeded", "keep", "end")]
            + [("executions", "start"), ("recoveries", "start"), ("reader", "oldest_first")]
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

    @invariant()
    def nothing_wrong_was_written_or_sent(self) -> None:
        assert self.store.watched.wrong == []

    @invariant()
    def no_bug_showed(self) -> None:
        assert [
            line for line in self.services.telemetry.logged("message_failed") if "stack" in line
        ] == []

    @invariant()
    def a_webhook_has_a_recovery_just_while_its_circuit_is_not_closed(self) -> None:
        for webhook, _ in self.services.store.webhooks.values():
            closed = webhook.health.circuit is Circuit.CLOSED
            assert closed == (webhook.health.recovery_id is None)

    @invariant()
    def a_dead_letter_is_written_once(self) -> None:
        assert all(count == 1 for count in self.dead_letters.values())

    def teardown(self) -> None:
        """End all faults, and check that nothing is stranded."""
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
        # Without a fault of ours or an operator who stops executions, nothing is ever overdue.
        assert self.interfered or self.services.telemetry.counts.get("OverdueDeliveries", 0) == 0
        for key, delivery in self.store.watched.items():
            name = Name(key, delivery.generation)
            told = self.dead_letters[name] == 1
            assert told or delivery.status is not Status.EXHAUSTED or name in self.stopped

    def switch_on(self) -> None:
        for number in (1, 2):
            found = self.services.store.destination(*_owner(number))
            if found is not None and found.secrets.current is None:
                self.webhook_service.rotate_secret(*_owner(number))
            if found is not None and not found.webhook.active:
                self.webhook_service.update(*_owner(number), WebhookChanges(active=True))


def _owner(number: int) -> tuple[str, str]:
    return f"acc_{number}", samples.webhook(number).id


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=100,
    # The same examples each time: a find of the search must not stop another change.
    derandomize=True,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
