"""The plan of a soak: accounts, webhooks of every kind, events, and the recipients of each."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from webhooks.domain import ses
from webhooks.domain.event import EventType
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook_rules import ALL_EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TYPES = tuple(event_type.value for event_type in EventType)
_WORDS = ("Grüße", "ご案内", "line\nbreak", 'a "quote"', "\u2028", "🎉", "</script>", "plain")
_OWN_ID_OF = 4
"""One event in so many has its producer's own id."""

_REPEATED_OF = 50
"""One event in so many is published twice, the act of an unsure producer."""

_SES_OF = 40
"""One message in so many is a record of SES, which becomes an event for each recipient."""

_SES_RECIPIENTS = (2, 20)


class Kind(StrEnum):
    """The behaviour of a webhook's receiver."""

    HEALTHY = "healthy"
    SLOW = "slow"
    FLAKY = "flaky"
    RECOVERING = "recovering"
    RATE_LIMITING = "rate limiting"
    TOGGLED = "toggled"
    FLAPPING = "flapping"
    DEAD = "dead"
    GONE = "gone"

    @property
    def gets_everything(self) -> bool:
        """Whether nothing may be missing at the end: the receiver accepts it sooner or later."""
        return self not in {Kind.FLAPPING, Kind.DEAD, Kind.GONE}


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a soak, and its durations.

    The retry schedule outlasts the outage of a recovering receiver, as the real one's three days
    do. Of all invocations `doomed` are killed. `outage` is the part of the publishing during which
    a recovering receiver is down. Each of AWS's services fails for `aws_outage_seconds`, one after
    the other. The owner of a toggled webhook disables it and enables it again every
    `toggle_seconds`. `until_settled`: go on until no delivery of a dead receiver is being retried.
    The first `calm_events` are published slowly, before anything is killed or fails: the
    first retries of that time are measured.
    """

    events: int
    accounts: int
    webhooks: Mapping[Kind, int]
    retry_schedule: str
    recovery_schedule: str
    dispatchers: int
    visibility_seconds: int
    doomed: float
    outage: float
    calm_events: int
    aws_outage_seconds: float
    toggle_seconds: float
    until_settled: bool
    deadline_seconds: float


FULL = Shape(
    events=20_000,
    accounts=50,
    webhooks={
        Kind.HEALTHY: 126,
        Kind.SLOW: 12,
        Kind.FLAKY: 18,
        Kind.RECOVERING: 12,
        Kind.RATE_LIMITING: 11,
        Kind.TOGGLED: 4,
        Kind.FLAPPING: 4,
        Kind.DEAD: 12,
        Kind.GONE: 1,
    },
    retry_schedule="5,7,8,10,15,30,60,120,240",
    recovery_schedule="2,5,10,20,30",
    dispatchers=6,
    visibility_seconds=30,
    doomed=0.1,
    outage=0.2,
    calm_events=300,
    aws_outage_seconds=30.0,
    toggle_seconds=30.0,
    until_settled=True,
    deadline_seconds=3600.0,
)

SHORT = Shape(
    events=300,
    accounts=5,
    webhooks={
        Kind.HEALTHY: 6,
        Kind.SLOW: 1,
        Kind.FLAKY: 1,
        Kind.RECOVERING: 1,
        Kind.RATE_LIMITING: 1,
        Kind.TOGGLED: 1,
        Kind.FLAPPING: 1,
        Kind.DEAD: 1,
        Kind.GONE: 1,
    },
    retry_schedule="5,7,7,7,7,8,13,21",
    recovery_schedule="1,2",
    dispatchers=4,
    visibility_seconds=10,
    doomed=0.2,
    outage=0.5,
    calm_events=20,
    aws_outage_seconds=4.0,
    toggle_seconds=3.0,
    until_settled=False,
    deadline_seconds=240.0,
)


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of the soak. A recovering one is down between two parts of the publishing."""

    number: int
    account_id: str
    kind: Kind
    events: tuple[str, ...]
    down_from: float = 0.0
    down_until: float = 0.0

    def wants(self, event_type: str) -> bool:
        """True if it is subscribed to this type."""
        return ALL_EVENTS in self.events or event_type in self.events


@dataclass(frozen=True, slots=True)
class Published:
    """A message as its producer published it, how often, and its transactions."""

    account_id: str
    event_type: str
    transaction_ids: tuple[str, ...]
    message: str
    times: int


class Plan:
    """The webhooks and the events of one soak: the same for the same shape and seed."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self._random = Random(seed)  # noqa: S311  chance, not secrets
        self.hooks = self._hooks()
        self.events = [
            self._event(number) if (number + 1) % _SES_OF else self._ses_record(number)
            for number in range(shape.events)
        ]

    @cached_property
    def accounts(self) -> list[str]:
        """The accounts' ids."""
        return [f"acc_soak_{number}" for number in range(self.shape.accounts)]

    @cached_property
    def due(self) -> Mapping[int, Sequence[str]]:
        """The transactions of the events that each webhook, by number, is subscribed to."""
        of_account: defaultdict[str, list[Published]] = defaultdict(list)
        for event in self.events:
            of_account[event.account_id].append(event)
        return {
            hook.number: [
                transaction_id
                for event in of_account[hook.account_id]
                if hook.wants(event.event_type)
                for transaction_id in event.transaction_ids
            ]
            for hook in self.hooks
        }

    def _hooks(self) -> list[Hook]:
        kinds = [kind for kind, count in self.shape.webhooks.items() for _ in range(count)]
        self._random.shuffle(kinds)
        return [self._hook(number, kind) for number, kind in enumerate(kinds)]

    def _hook(self, number: int, kind: Kind) -> Hook:
        down_from = self._random.uniform(0.05, 0.9 - self.shape.outage)
        some = tuple(sorted(self._random.sample(_TYPES, 3)))
        return Hook(
            number,
            self.accounts[number % len(self.accounts)],
            kind,
            (ALL_EVENTS,) if number % 2 else some,
            down_from=down_from,
            down_until=down_from + self.shape.outage,
        )

    def _event(self, number: int) -> Published:
        random = self._random
        account_id = self.accounts[number % len(self.accounts)]
        event_type = random.choice(_TYPES)
        transaction_id = f"txn_soak_{number:06d}"
        document: dict[str, Any] = {
            "account_id": account_id,
            "event": event_type,
            "transaction_id": transaction_id,
            "timestamp": to_text(int(time.time() * 1000)),
            "data": {
                "email_id": f"{random.getrandbits(64):016x}",
                "to": f"recipient.{number}@example.com",
                "subject": " ".join(random.choices(_WORDS, k=random.randint(1, 60))),
                "from": "hello@example.com",
                "10": random.random() * 10 ** random.randint(-9, 22),
                "9": float(number),
            },
        }
        if number % _OWN_ID_OF == 0:
            document["id"] = f"own-{number}"
        times = 2 if number % _REPEATED_OF == 0 else 1
        return Published(account_id, event_type, (transaction_id,), json.dumps(document), times)

    def _ses_record(self, number: int) -> Published:
        """Make a record of a delivery to several recipients, as SES publishes it through SNS."""
        account_id = self.accounts[number % len(self.accounts)]
        recipients = [
            f"recipient.{number}.{one}@example.com"
            for one in range(self._random.randint(*_SES_RECIPIENTS))
        ]
        now = to_text(int(time.time() * 1000))
        record = {
            "eventType": "Delivery",
            "mail": {
                "timestamp": now,
                "messageId": f"soak-{number}",
                "source": "hello@example.com",
                "destination": recipients,
                "tags": {"account_id": [account_id]},
            },
            "delivery": {"timestamp": now, "recipients": recipients},
        }
        events = ses.to_events(record)
        transaction_ids = tuple(json.loads(event.body)["transaction_id"] for event in events)
        message = json.dumps({"Type": "Notification", "Message": json.dumps(record)})
        return Published(account_id, events[0].type, transaction_ids, message, times=1)
