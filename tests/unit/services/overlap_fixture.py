"""A deliverer in the overlap of a rotation, and receivers that verify with one secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain import signing
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OLD = "whsec_" + "0d" * 32
NEW = "whsec_" + "4e" * 32
OVERLAP_MS = 60_000
WEBHOOK = samples.webhook()
DELIVERY = samples.delivery(attempts=(), status=Status.PENDING, next_attempt_at_ms=None)


class OverlapFixture(ServiceFixture):
    """A deliverer among fakes, in a rotation's overlap, at a time that a test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.store.add(WEBHOOK, Secrets(NEW, OLD, samples.NOW_MS + OVERLAP_MS))

    def attempt(self, delivery: Delivery = DELIVERY, *, manual: bool = False) -> Delivery:
        destination = self.store.destination(WEBHOOK.account_id, WEBHOOK.id)
        assert destination is not None
        return self.deliverer.attempt(destination, delivery, manual=manual)

    def signed_with(self) -> list[str]:
        """The secret of each post's X-SendComms-Signature."""
        by_signature = {
            signing.sendcomms_signature(secret, DELIVERY.body): secret for secret in (OLD, NEW)
        }
        return [by_signature[headers["X-SendComms-Signature"]] for _, _, headers in self.posts]

    @property
    def posts(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return self.sender.posts

    @property
    def secrets(self) -> Secrets:
        return self.store.webhooks[WEBHOOK.account_id, WEBHOOK.id][1]


def knowing(secret: str, refusal: int = 401) -> Callable[[str, Mapping[str, str]], Outcome]:
    """A receiver that checks X-SendComms-Signature with one secret."""
    genuine = signing.sendcomms_signature(secret, DELIVERY.body)

    def answer(_url: str, headers: Mapping[str, str]) -> Outcome:
        if headers["X-SendComms-Signature"] == genuine:
            return Outcome(status_code=200, duration_ms=10)
        return Outcome(FailureReason.HTTP_STATUS, status_code=refusal, duration_ms=10)

    return answer
