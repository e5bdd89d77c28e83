"""Under any messages and any behaviour of the queue, every message settles and none is lost.

Random floods, on a queue that hands messages out in any order, refuses some, is slow, and accepts
some without an answer. A seed always gives the same run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from support.samples import webhook
from support.ses_records import bare
from unit.services.dispatch.dispatch_fixture import REFUSED, DispatchFixture, event
from unit.services.watched_deliveries import Inline
from webhooks.domain.delivery import Outcome
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ses import SesAccounts
from webhooks.domain.shard import is_part
from webhooks.services.dispatch import fair_queueing
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from webhooks.domain.resending import Outgoing

WEBHOOKS = {"acc_1": (1,), "acc_2": (2, 3), "acc_3": tuple(range(10, 25))}
"""The third account has several shards: an array of its events is divided."""

LIMITS = (0, 0, 10, 60)
FAULTS = 30
MOST_PUBLISHED = 50
MOST_ROUNDS = 2_000
VISIBILITY_MS = 360_000
MINUTE_MS = 60_000

UNDELAYED = 12
"""Receives of an event without a fault, except the receives that its account's limit demands: two
copies, each as a suspect and as one no longer, in its group or held, and in two shards; and
again where a batch puts it back for the sake of suspects."""


@pytest.fixture(autouse=True)
def few_are_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queueing, "MOST_UNGROUPED", 5)


class Trial:
    """A flood of one seed, and the dispatcher that is to settle it."""

    def __init__(self, seed: int, faults: int) -> None:
        """Let the queue, the reads and the time go wrong up to `faults` times."""
        self.random = Random(seed)  # noqa: S311  chance, not secrets
        self.faults = faults
        self.fault_share = self.random.choice([0.1, 0.3, 0.6])
        self.hides_groups = self.random.random() < 0.4
        self.limit = self.random.choice(LIMITS)
        self.services = DispatchFixture(
            events_per_minute=self.limit, ses_accounts=SesAccounts({}, "acc_1")
        )
        self.services.now_ms -= self.services.now_ms % MINUTE_MS
        self.began_ms = self.services.now_ms
        for account_id, numbers in WEBHOOKS.items():
            self.services.add(*numbers, account_id=account_id)
        self.waiting: list[tuple[int, QueueMessage]] = []
        self.owners: dict[str, str] = {}
        """The account of each event, by its number."""
        self.receives: Counter[str] = Counter()
        """How often each event came that no limit had delayed."""
        self._sent = 0
        self._make_one_thread()
        self._let_fail()
        arrays = self.random.random() < 0.5
        for _ in range(self.random.randint(MOST_PUBLISHED // 4, MOST_PUBLISHED)):
            self._publish(arrays=arrays)

    def settle(self) -> None:
        """Handle all messages."""
        rounds = 0
        while self.waiting:
            rounds += 1
            assert rounds < MOST_ROUNDS, f"{len(self.waiting)} messages do not settle"
            self._round()

    @property
    def minutes(self) -> float:
        return (self.services.now_ms - self.began_ms) / MINUTE_MS

    def _make_one_thread(self) -> None:
        threads: Any = self.services.dispatcher.threads
        for name in ("attempts", "senders", "followers"):
            getattr(threads, name).shutdown()
            setattr(threads, name, Inline())

    def _let_fail(self) -> None:
        services: Any = self.services
        services.queue.put = self._put
        services.sender.answer = self._answer
        for owner, name in (
            (services.deliveries, "claim"),
            (services.deliveries, "get_many"),
            (services.store, "destinations"),
            (services.rate_limit_store, "add"),
        ):
            setattr(owner, name, self._failing(getattr(owner, name)))

    def _answer(self, url: str, _: Mapping[str, str]) -> Outcome:
        """One webhook accepts nothing: its deliveries wait for their retries."""
        return REFUSED if url == webhook(3).url else Outcome(status_code=200, duration_ms=1)

    def _fault(self, share: float = 1.0) -> bool:
        happens = self.faults > 0 and self.random.random() < self.fault_share * share
        self.faults -= happens
        return happens

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if self._fault(0.05):
                if self.random.random() < 0.5:
                    msg = "a fault of the trial"
                    raise UnavailableError(msg)
                self.services.remaining -= self.random.choice([6.0, 20.0])
            return method(*args)

        return call

    def _put(self, messages: Sequence[Outgoing]) -> Sequence[int]:
        """Accept messages, or refuse them, or lose the answer."""
        everything = range(len(messages))
        fault = self.random.choice(["slow", "refused", "one", "lost"]) if self._fault() else ""
        if fault == "slow":
            self.services.remaining -= self.random.choice([4.0, 9.0, 40.0])
        refused = {"refused": everything, "lost": everything, "one": everything[:1]}.get(fault, ())
        for place, one in enumerate(messages):
            if fault == "lost" or place not in refused:
                self._take(one)
        return refused

    def _take(self, one: Outgoing) -> None:
        now_ms = self.services.now_ms
        message = QueueMessage(
            self._name(),
            one.body,
            now_ms if one.arrived_at_ms is None else one.arrived_at_ms,
            group=None if self.hides_groups else one.group,
            tries=one.tries,
            suspicions=one.suspicions,
            delays=one.delays,
            paced=one.paced,
        )
        self.waiting.append((now_ms + one.delay_seconds * 1000, message))

    def _name(self) -> str:
        self._sent += 1
        return f"m{self._sent}"

    def _publish(self, *, arrays: bool) -> None:
        """Put a message on the queue, sometimes with a copy of it."""
        choose = self.random.choice
        number = choose([1, 1, 1, 5, 30]) if arrays else 1
        texts = [self._text() for _ in range(number)]
        body = texts[0] if number == 1 else f"[{','.join(texts)}]"
        sent_ms = self.began_ms + choose([0, 0, 0, 20_000, 90_000])
        for copy_ms in choose([(0,), (0,), (0,), (0, 0), (0, 5_000)]):
            message = QueueMessage(
                self._name(),
                body,
                sent_ms + copy_ms,
                group=choose([None] * 9 + ["any"]),
                suspicions=choose([0] * 9 + [1]),
                receive_count=choose([1] * 9 + [3]),
            )
            self.waiting.append((message.arrived_at_ms, message))

    def _text(self) -> str:
        number = f"{len(self.owners):06}"
        account_id = self.random.choice(["acc_1"] * 6 + ["acc_2", "acc_3"])
        self.owners[number] = account_id
        kind = self.random.choice(["event", "timeless", "ses"])
        if kind == "ses":
            return (
                self.random.choice(_ses_texts())
                .replace("NUMBER", number)
                .replace("ACCOUNT", account_id)
            )
        without = {"timestamp": None} if kind == "timeless" else {}
        return event(0, account_id=account_id, **without).replace("txn_0", f"txn_{number}")

    def _round(self) -> None:
        """Handle up to ten due messages; the clock moves to the next due time."""
        services = self.services
        services.now_ms = max(services.now_ms, min(due_ms for due_ms, _ in self.waiting))
        due = [one for due_ms, one in self.waiting if due_ms <= services.now_ms]
        batch = self.random.sample(due, min(len(due), 10))
        ids = {message.id for message in batch}
        self.waiting = [one for one in self.waiting if one[1].id not in ids]
        for message in batch:
            if not message.delays:
                self.receives.update(_numbers(message.body))
        services.random = self.random.random()
        services.remaining = 30.0 if self._fault(0.1) else 60.0
        before = self._grouped
        failed = services.batches.handle(batch, lambda: services.remaining)
        assert self._grouped - before <= sum(map(_most_groups, batch)), "a part was put back"
        for message in batch:
            if message.id in failed:
                again = message._replace(receive_count=message.receive_count + 1)
                self.waiting.append((services.now_ms + VISIBILITY_MS, again))
        services.now_ms += self.random.choice([20, 20, 1_000])

    @property
    def _grouped(self) -> int:
        return self.services.telemetry.counts.get("GroupedMessages", 0)


@cache
def _ses_texts() -> tuple[str, ...]:
    """Return a record in each of its forms."""
    record = bare("delivery")
    record["mail"]["messageId"] = "ses_NUMBER"
    record["mail"]["tags"]["account_id"] = ["ACCOUNT"]
    sns = {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(record)}
    bridge = {"detail-type": "Email Delivered", "source": "aws.ses", "detail": record}
    return tuple(json.dumps(one) for one in (record, sns, bridge))


def _numbers(text: str) -> set[str]:
    """Return the numbers of the events that a text holds."""
    return set(re.findall(r"(?:txn|ses)_(\d{6})", text))


def _most_groups(message: QueueMessage) -> int:
    """Return the most messages that one may become in groups: a part never goes back as one."""
    document = json.loads(message.body)
    documents = document if isinstance(document, list) else [document]
    return 0 if message.group or all(map(is_part, documents)) else len(WEBHOOKS)


def _assert_all_arrived_once(trial: Trial) -> None:
    services = trial.services
    assert services.rejected.messages == []
    posts = Counter((url, headers["webhook-id"]) for url, _, headers in services.sender.posts)
    assert set(posts.values()) == {1}
    recorded = {
        (number, one.webhook_id)
        for one in services.stored()
        for number in _numbers(one.body.decode())
    }
    assert recorded == {
        (number, webhook(one).id)
        for number, account_id in trial.owners.items()
        for one in WEBHOOKS[account_id]
    }


@pytest.mark.parametrize("seed", range(6))
def test_without_faults_each_event_comes_as_often_as_its_way_has_steps(seed: int) -> None:
    trial = Trial(seed, faults=0)
    trial.settle()
    _assert_all_arrived_once(trial)
    assert max(trial.receives.values()) <= UNDELAYED
    copies = 2 * len(trial.owners)
    assert trial.minutes <= (15 + copies / trial.limit if trial.limit else 3)


@pytest.mark.parametrize("seed", range(100, 106))
def test_after_the_last_of_many_faults_all_settles(seed: int) -> None:
    trial = Trial(seed, FAULTS)
    trial.settle()
    _assert_all_arrived_once(trial)
