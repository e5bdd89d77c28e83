"""The work of `webhooks listen`: new deliveries from the log, forwarded to this machine.

A deployed stack cannot reach this machine, so the log is polled. The log is in the order of the
events' own times, so a new delivery is not always at its top. Each poll therefore reads the recent
part again, and one more page of an endless pass over the whole log, which finds events that are old
when they arrive.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.client import ApiClientError
from local import loopback
from webhooks.adapters.http.sender import TIMEOUT_SECONDS, GuardedSender
from webhooks.domain import signing
from webhooks.domain.delivery import Delivery, FailureReason, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.headers import merged
from webhooks.domain.status_codes import is_success
from webhooks.domain.timestamps import to_ms, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.client import ApiClient

OVERLAP_SECONDS = 60.0
"""How much older than the last poll an event may be and still be found by the next one."""

_SIGNATURES = ("X-SendComms-Signature", "webhook-signature")
_PROBLEMS = {
    FailureReason.TIMEOUT: f"no response within {TIMEOUT_SECONDS:.0f} seconds",
    FailureReason.CONNECTION: "no program listens there, or it closed the connection",
    FailureReason.BLOCKED_ADDRESS: "the address is not on this machine",
}


class Arrived(NamedTuple):
    """A new delivery, in full, and its webhook."""

    webhook_id: str
    delivery: dict[str, Any]


class LogPoller:
    """The new deliveries in one webhook's log.

    `started` is the beginning in the API's Unix seconds. Deliveries that are recent by then count
    as new.
    """

    def __init__(self, api: ApiClient, webhook_id: str, started: float) -> None:
        self._api = api
        self._path = f"/webhooks/{webhook_id}/deliveries"
        self._webhook_id = webhook_id
        self._started = self._read_until = started
        self._next_cursor: str | None = None
        self._seen: set[str] = set()

    def skip_present(self) -> None:
        """Treat all deliveries in the log as known. Raises ApiClientError."""
        top = self._api.page(self._path, None).data
        self._seen.update(found["id"] for found in (*self._recent(), *top))

    def arrivals(self) -> Iterator[Arrived]:
        """Yield each new delivery once, oldest first.

        A delivery counts as seen when the next one is requested. After ApiClientError, the next
        call yields the rest.
        """
        polled_at = self._api.now()
        found = {delivery["id"] for delivery in (*self._recent(), *self._next_page())}
        for delivery_id in sorted(found - self._seen):
            yield Arrived(self._webhook_id, self._api.get(f"{self._path}/{delivery_id}"))
            self._seen.add(delivery_id)
        self._read_until = polled_at

    def _recent(self) -> list[dict[str, Any]]:
        since = to_text(to_ms(max(self._read_until - OVERLAP_SECONDS, 0)))
        return [
            delivery for page in self._api.pages(self._path, since=since) for delivery in page.data
        ]

    def _next_page(self) -> list[dict[str, Any]]:
        """Return the new deliveries on the next page of the endless pass."""
        cursor, self._next_cursor = self._next_cursor, None
        page = self._api.page(self._path, cursor)
        self._next_cursor = page.next_cursor
        started = to_text(to_ms(self._started))
        return [delivery for delivery in page.data if delivery["created_at"] >= started]


class Listener:
    """The new deliveries of one webhook, or of all webhooks of an account.

    Deliveries that exist at the beginning are not new. The constructor raises ApiClientError.
    """

    def __init__(self, api: ApiClient, webhook_id: str | None = None) -> None:
        self._api = api
        self._webhook_id = webhook_id
        self._pollers: dict[str, LogPoller] = {}
        present = self._webhook_ids()
        self._started = api.now()
        for found in present:
            self._pollers[found] = LogPoller(api, found, self._started)
            self._pollers[found].skip_present()

    def arrivals(self) -> Iterator[Arrived]:
        """Yield the deliveries since the last call; webhooks registered later are included."""
        for webhook_id in self._webhook_ids():
            if webhook_id not in self._pollers:
                self._pollers[webhook_id] = LogPoller(self._api, webhook_id, self._started)
            try:
                yield from self._pollers[webhook_id].arrivals()
            except ApiClientError as error:
                if error.status != 404 or self._webhook_id is not None:
                    raise

    def _webhook_ids(self) -> list[str]:
        if self._webhook_id is not None:
            if not self._pollers:
                self._api.get(f"/webhooks/{self._webhook_id}")
            return [self._webhook_id]
        return [webhook["id"] for page in self._api.pages("/webhooks") for webhook in page.data]


class Forwarded(NamedTuple):
    """The response of the program on this machine: a status, or the reason why there is none."""

    status: int | None
    problem: str | None
    duration_ms: int

    @property
    def succeeded(self) -> bool:
        """Whether the program accepted the delivery."""
        return is_success(self.status)


class Forwarder:
    """Sends deliveries to a program on this machine, with the stack's own sender.

    The requests are like real deliveries: the same headers in the same order and spelling, no
    others, the same path, the same five seconds. They are signed anew with `secret`, or not signed
    without it, because the API does not return secrets. Nor does it return the values of a
    webhook's own headers, so `headers` gives them.
    """

    def __init__(
        self, url: str, secret: str | None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self._secret = secret
        self._headers = headers or {}
        self._sender = GuardedSender(allowed=loopback.is_loopback, check=loopback.parse_url)

    def forward(self, arrived: Arrived) -> Forwarded:
        """Send one delivery, its body byte for byte, and wait as long as a real delivery does."""
        body = arrived.delivery.get("body")
        if body is None:
            return Forwarded(None, "its payload was erased", 0)
        delivery = Delivery(
            account_id="",
            webhook_id=arrived.webhook_id,
            id=arrived.delivery["id"],
            event_id=arrived.delivery["event_id"],
            event_type=arrived.delivery["event"],
            body=body.encode(),
            status=Status(arrived.delivery["status"]),
            created_at_ms=0,
        )
        try:
            outcome = self._sender.post(self.url, delivery.body, self._headers_of(delivery))
        except UnavailableError as error:
            return Forwarded(None, str(error), 0)
        problem = None
        if outcome.status_code is None and outcome.error is not None:
            problem = _PROBLEMS.get(outcome.error, outcome.error.value)
        return Forwarded(outcome.status_code, problem, outcome.duration_ms)

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    def _headers_of(self, delivery: Delivery) -> dict[str, str]:
        secret = self._secret or "unsigned"
        headers = signing.delivery_headers(
            delivery,
            attempt_number=1,
            unix_seconds=int(time.time()),
            secrets=[secret],
            sendcomms_secret=secret,
        )
        if self._secret is None:
            for name in _SIGNATURES:
                del headers[name]
        return merged(self._headers, headers)
