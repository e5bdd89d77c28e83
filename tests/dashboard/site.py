"""The dashboard on the API with fakes behind it, over HTTP, and an account with data."""

from __future__ import annotations

import contextlib
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local import template
from local.functions import LocalFunction
from local.gateway import Gateway, GatewayRoute
from local.servers import LOOPBACK, listen, serve
from support import samples
from support.http_api import ApiOnFakes
from webhooks.domain.delivery import Attempt, Delivery, FailureReason, Status, delivery_id
from webhooks.domain.health import Circuit, Health
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from webhooks.domain.webhook import Webhook

ACCOUNT = "acme"
HOST = "hooks.acme.com"
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
_TYPES = ("email.sent", "email.delivered", "email.opened", "email.clicked")


@dataclass(frozen=True)
class Site:
    """A dashboard, the fakes behind it, and a key for it."""

    fakes: ApiOnFakes
    url: str
    key: str
    now_ms: int

    def webhook(self, number: int, **changes: Any) -> Webhook:
        """Add a webhook; a greater `number` is newer."""
        made = samples.webhook(number, account_id=ACCOUNT, **changes)
        self.fakes.webhooks.add(made, Secrets(samples.SECRET))
        return made

    def delivery(
        self,
        webhook: Webhook,
        age_ms: int,
        status: Status = Status.SUCCEEDED,
        attempts: Sequence[Attempt] | None = None,
        **changes: Any,
    ) -> Delivery:
        """Add a delivery of an event that happened that long ago."""
        at_ms = self.now_ms - age_ms
        event_id = changes.pop("event_id", f"evt_{len(self.fakes.deliveries.deliveries):032x}")
        event_type = changes.pop("event_type", "email.delivered")
        document = samples.event_document(
            account_id=None,
            event=event_type,
            timestamp=to_text(at_ms),
            transaction_id=f"txn_{event_id[-12:]}",
        )
        document["data"] |= changes.pop("data", {})
        values: dict[str, Any] = {
            "account_id": ACCOUNT,
            "webhook_id": webhook.id,
            "id": delivery_id(event_id, at_ms, webhook.id),
            "event_id": event_id,
            "event_type": event_type,
            "body": json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(),
            "status": status,
            "created_at_ms": at_ms + 120,
            "attempts": (taken(1, at_ms + 200),) if attempts is None else tuple(attempts),
            "next_attempt_at_ms": None,
            **changes,
        }
        return self.fakes.deliveries.create(Delivery(**values))


def taken(number: int, at_ms: int, duration_ms: int = 84, **changes: Any) -> Attempt:
    """Return an attempt that arrived."""
    response_body = '{"received":true}'
    return Attempt(
        number, at_ms, duration_ms, status_code=200, response_body=response_body, **changes
    )


def refused(number: int, at_ms: int, response_body: str = "no", **changes: Any) -> Attempt:
    """Return an attempt whose response was 503."""
    error = FailureReason.HTTP_STATUS
    return Attempt(
        number, at_ms, 41, status_code=503, error=error, response_body=response_body, **changes
    )


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Serve an empty account."""
    fakes = ApiOnFakes(addresses={HOST: ["93.184.216.34"]})
    function = LocalFunction("api", fakes.api)
    declared = template.routes(template.read())
    gateway = Gateway(
        GatewayRoute(route.method, route.path, function)
        for route in declared
        if route.function == "ApiFunction"
    )
    listener = listen(LOOPBACK, 0, "PORT")
    address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/dashboard"
    with serve(listener, gateway):
        yield Site(fakes, address, fakes.acme.key, time.time_ns() // 1_000_000)


def furnish(place: Site) -> dict[str, str]:
    """Fill the account with a day of each kind; returns the paths of its views by name."""
    chance = random.Random(7)  # noqa: S311  the same picture each time, and no secret
    weeks_ago = place.now_ms - 21 * 24 * HOUR_MS
    crm = place.webhook(
        1,
        url=f"https://{HOST}/crm",
        events=("email.complained",),
        description="Old CRM",
        active=False,
        disabled_reason="gone",
        created_at_ms=weeks_ago,
    )
    suppression = place.webhook(
        2,
        url=f"https://{HOST}/suppression",
        events=("email.bounced", "email.complained"),
        description="Suppression list",
        health=Health(
            failures=23,
            failing_since_ms=place.now_ms - 5 * HOUR_MS,
            circuit=Circuit.OPEN,
        ),
        created_at_ms=weeks_ago,
    )
    billing = place.webhook(
        3,
        url=f"https://{HOST}/webhooks/email",
        events=("*",),
        description="Billing: receipts and invoices",
        headers={"X-Team": "billing"},
        external_id="billing-production",
        metadata={"team": "billing", "region": "eu"},
        health=Health(failures=1, failing_since_ms=place.now_ms - 4 * MINUTE_MS),
        created_at_ms=weeks_ago,
    )
    for _ in range(90):
        place.delivery(crm, chance.randint(25, 90) * HOUR_MS, event_type="email.complained")
    for number in range(60):
        age_ms = int(chance.uniform(0.1, 23.5) * HOUR_MS)
        status = Status.WAITING if age_ms < 5 * HOUR_MS else Status.SUCCEEDED
        attempts = [taken(1, place.now_ms - age_ms, chance.randint(60, 400))]
        place.delivery(
            suppression,
            age_ms,
            status,
            attempts if status is Status.SUCCEEDED else [],
            event_type="email.bounced",
            event_id=f"evt_suppression{number:016x}",
        )
    _fill_billing(place, billing, chance)
    retrying = _retrying(place, billing)
    webhook_path = f"#/webhooks/{billing.id}"
    return {
        "webhooks": "#/",
        "webhook": webhook_path,
        "down": f"#/webhooks/{suppression.id}",
        "delivery": f"{webhook_path}/deliveries/{retrying.id}",
    }


def _fill_billing(place: Site, billing: Webhook, chance: random.Random) -> None:
    for hour in range(24):
        busy = 3 + int(9 * (1 - abs(hour - 11) / 12))
        for _ in range(busy):
            age_ms = int((hour + chance.uniform(0.12, 0.98)) * HOUR_MS)
            at_ms = place.now_ms - age_ms
            failed = hour in {8, 9} and chance.random() < 0.3
            attempts = [refused(number, at_ms + number * 5000) for number in range(1, 11)]
            place.delivery(
                billing,
                age_ms,
                Status.EXHAUSTED if failed else Status.SUCCEEDED,
                attempts if failed else [taken(1, at_ms + 200, chance.randint(48, 190))],
                event_type=chance.choice(_TYPES),
                event_id=f"evt_{chance.getrandbits(128):032x}",
                reason="http_status" if failed else None,
            )


def _retrying(place: Site, billing: Webhook) -> Delivery:
    at_ms = place.now_ms - 4 * MINUTE_MS
    attempts = [
        refused(1, at_ms + 300, response_body="upstream connect error"),
        Attempt(2, at_ms + 6_000, 5_003, error=FailureReason.TIMEOUT),
        refused(3, at_ms + 90_000, response_body='{"error":"maintenance"}', manual=True),
    ]
    return place.delivery(
        billing,
        4 * MINUTE_MS,
        Status.RETRYING,
        attempts,
        event_id="evt_5f0c1d2e3b4a59687766554433221100",
        data={"subject": "Your receipt from Acme", "to": "ada@example.com"},
        next_attempt_at_ms=place.now_ms + 3 * MINUTE_MS,
    )
