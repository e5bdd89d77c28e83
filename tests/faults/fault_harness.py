"""The functions among faults: one AWS for many tests, with an account for each.

Each batch of a test has a further message, of an account without faults, which must arrive.
"""

from __future__ import annotations

import hmac
import itertools
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import standardwebhooks

import dispatcher.handler
import worker.handler
from api.app import Api
from faults.log_capture import HEADER_VALUE, RECIPIENT, SECRET, SUBJECT, URL_TOKEN
from support import samples
from support.backend import backend, lambda_context, sqs_event
from support.faults import Faults
from support.http_api import AccountClient
from support.receiver import Receiver, local_sender
from webhooks.adapters.dynamodb import deliveries, item_keys, webhook_items
from webhooks.adapters.dynamodb.delivery_items import read_delivery
from webhooks.adapters.dynamodb.webhooks import DynamoDBWebhookStore
from webhooks.adapters.sqs import SQSReceivedMessages
from webhooks.domain.jobs import Action
from webhooks.domain.resending import TRIES
from webhooks.services.retrier import LEASE_SECONDS
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.sending import SendingServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pytest

    from faults.log_capture import LogCapture
    from support.backend import Backend, Made
    from support.receiver import Request
    from webhooks.domain.delivery import Delivery
    from webhooks.domain.webhook import Webhook

PATH = f"/{URL_TOKEN}/hook"  # A receiver's url may hold a token.

_ID_LENGTH = 36  # An execution's name begins with the id of its delivery.

_NUMBERS = itertools.count(1)


@dataclass
class FaultHarness:
    """AWS, the functions on it, and the receiver of the account without faults."""

    aws: Backend
    faults: Faults
    bystander: Receiver
    pauses: list[float] = field(default_factory=list)
    """The seconds that the store of deliveries waited before a batch's leftovers."""
    deleted: list[str] = field(default_factory=list)
    """The receipt handles that the dispatcher deleted, of messages that are on no queue here."""
    _warm: dict[type, Any] = field(default_factory=dict)

    def services(self, kind: type[Made]) -> Made:
        """Return a function's services, kept from one invocation to the next as in Lambda."""
        made: Made = self._warm.get(kind) or self.fresh(kind)
        self._warm[kind] = made
        return made

    def fresh(self, kind: type[Made], **settings: Any) -> Made:
        """Return the services of a new process, with other settings where given."""
        before = self.aws.settings
        self.aws.settings = replace(before, **settings)
        made = self.aws.services(kind)
        self.aws.settings = before
        if isinstance(made, SendingServices):
            made._sender = local_sender()
        return made


@contextmanager
def harness(patch: pytest.MonkeyPatch) -> Iterator[FaultHarness]:
    """Set everything up; the pause before a batch's leftovers is noted, without a real wait."""
    pauses: list[float] = []
    patch.setattr(deliveries, "time", SimpleNamespace(time=time.time, sleep=pauses.append))
    deleted: list[str] = []
    patch.setattr(SQSReceivedMessages, "delete", lambda _, handles: deleted.extend(handles))
    faults = Faults()
    with backend(patch) as aws, faults.installed(), Receiver(path=PATH) as bystander:
        yield FaultHarness(aws, faults, bystander, pauses, deleted)


class Tenant:
    """One test's account, its webhooks and the results of its events."""

    def __init__(self, harness: FaultHarness, log: LogCapture) -> None:
        self.harness = harness
        self.log = log
        number = next(_NUMBERS)
        self.account = f"acc_case_{number}"
        self.bystander = f"bystander_{number}"
        self._batches = itertools.count(1)
        self.received_again: set[str] = set()
        """The messages that SQS hands out again because of the latest batch's answer."""
        self._owners: dict[str, set[str]] = {self.account: set(), self.bystander: set()}
        # Through a client with longer time-outs than the functions': a test's beginning is no race.
        self._store = DynamoDBWebhookStore(
            harness.aws.clients["dynamodb"],
            harness.aws.settings.webhooks_table,
            deliveries_table=harness.aws.settings.deliveries_table,
            retention_days=harness.aws.settings.retention_days,
        )
        self._add(harness.bystander.url, 1, self.bystander, {})

    @cached_property
    def acme(self) -> AccountClient:
        """The account as a customer of the API."""
        services = self.harness.services(ApiServices)
        return AccountClient(Api(services), services.api_key_service.issue(self.account).text)

    def webhook(self, receiver: Receiver | str, number: int = 1, **changes: Any) -> Webhook:
        """Register a webhook with secrets in its url, its headers and its signing secret."""
        url = receiver if isinstance(receiver, str) else receiver.url
        return self._add(url, number, self.account, changes)

    def webhooks(self, receiver: Receiver, number: int) -> None:
        """Register many webhooks at once: to do it one by one takes too long."""
        made = [
            samples.webhook(one, url=receiver.url, account_id=self.account)
            for one in range(1, number + 1)
        ]
        table = self.harness.aws.settings.webhooks_table
        for start in range(0, number, 25):
            puts = [
                {"PutRequest": {"Item": webhook_items.webhook_item(webhook, SECRET)}}
                for webhook in made[start : start + 25]
            ]
            self.harness.aws.clients["dynamodb"].batch_write_item(RequestItems={table: puts})
        self._owners[self.account] |= {item_keys.owner(self.account, one.id) for one in made}

    def message(self, transaction: str = "txn_1", **changes: Any) -> str:
        """Return an event of the account in its producer's form."""
        data = {"to": RECIPIENT, "subject": SUBJECT, **changes.pop("data", {})}
        values = {"account_id": self.account, "transaction_id": transaction, "data": data}
        return samples.event_text(**{**values, **changes})

    def dispatch(
        self,
        *messages: str,
        services: DispatcherServices | None = None,
        context: Any = None,
        shared_fate: bool = False,
        receive_count: int = 1,
        numbers: Mapping[str, object] | None = None,
        sent_at_ms: int = samples.NOW_MS,
        grouped: bool = True,
    ) -> list[str]:
        """Handle a batch; returns the ids, m0 and so on, of the messages that failed.

        Those were sent again, or are received again. With a `shared_fate` the bystander's message
        may fail too, but be neither lost nor sent without a record. The messages, but not the
        bystander's, were received `receive_count` times, have `numbers` as attributes, and reached
        SQS at `sent_at_ms`. They have the group of their account, unless `grouped` is false.
        """
        transaction = f"txn_{self.bystander}_{next(self._batches)}"
        bystander = samples.event_text(account_id=self.bystander, transaction_id=transaction)
        batch = sqs_event(
            *messages,
            receive_count=receive_count,
            numbers=numbers,
            sent_at_ms=sent_at_ms,
            group=self.account if grouped else None,
        )
        batch["Records"] += sqs_event(*messages, bystander)["Records"][len(messages) :]
        before = len(self.sent_again())
        answer = dispatcher.handler.handle(
            batch,
            context or lambda_context(),
            services or self.harness.services(DispatcherServices),
        )
        back = self.received_again = {
            failure["itemIdentifier"] for failure in answer["batchItemFailures"]
        }
        again = {entry["MessageBody"] for entry in self.sent_again()[before:]}
        failed = [
            record["messageId"]
            for record in batch["Records"]
            if record["messageId"] in back or record["body"] in again
        ]
        last = batch["Records"][-1]["messageId"]
        if shared_fate and last in failed:
            failed.remove(last)
        else:
            assert last not in failed, "the bystander's message failed"
            assert self._bystander_got(transaction) == 1
            assert self.bystander_arrived(transaction)
        return failed

    def bystander_arrived(self, transaction: str = "") -> bool:
        """True if the bystander's delivery is recorded: of one batch, or of any."""
        return any(transaction in str(one.transaction_id) for one in self._stored(self.bystander))

    def retry(
        self, state: dict[str, Any] | None = None, services: WorkerServices | None = None
    ) -> Any:
        """Run the worker on a state, or on the only execution's state; returns its answer.

        An exception of the handler is in the logs in the form of Lambda's runtime.
        """
        if state is None:
            [state] = self.executions()
        used = services or self.harness.services(WorkerServices)
        if "action" not in state:
            state = {"action": Action.ATTEMPT, "state": state}
        try:
            answer = worker.handler.handle(state, lambda_context(), used)
        except Exception as error:
            self.log.raised(error)
            raise
        # Step Functions gets the answer as JSON.
        return json.loads(json.dumps(answer))

    def after_the_lease(self) -> WorkerServices:
        """Return the services of a worker that finds every claim's lease over."""
        made = self.harness.fresh(WorkerServices)
        made._clock = lambda: time.time() + LEASE_SECONDS + 1
        return made

    def deliveries(self) -> list[Delivery]:
        """Return the account's stored deliveries, in the order of their webhooks."""
        return sorted(self._stored(self.account), key=lambda one: one.webhook_id)

    def delivery(self) -> Delivery:
        """Return the only delivery."""
        [delivery] = self.deliveries()
        return delivery

    def executions(self) -> list[dict[str, Any]]:
        """Return the inputs of the retry executions that were started for the account."""
        mine = {delivery.id for delivery in self.deliveries()}
        machine = self.harness.aws.settings.retry_state_machine_arn
        return self._started(machine, lambda name: name[:_ID_LENGTH] in mine)

    def short_executions(self) -> list[dict[str, Any]]:
        """Return the inputs of the executions of the machine of short delays."""
        mine = {delivery.id for delivery in self.deliveries()}
        machine = self.harness.aws.settings.short_retry_state_machine_arn
        return self._started(machine, lambda name: name[:_ID_LENGTH] in mine)

    def recoveries(self) -> list[dict[str, Any]]:
        """Return the inputs of the recovery executions that were started for the account."""
        started = self._started(self.harness.aws.settings.job_state_machine_arn, lambda _: True)
        return [state for state in started if state["account_id"] == self.account]

    def announced(self, what: str) -> list[dict[str, Any]]:
        """Return the published details of `webhook.disabled` for the account's webhooks."""
        # The SDK's own tries send the same again.
        details = dict.fromkeys(
            entry["Detail"]
            for operation, body in self.harness.faults.sent
            if operation == "PutEvents"
            for entry in body["Entries"]
            if entry["DetailType"] == what
        )
        told = [json.loads(detail) for detail in details]
        return [one for one in told if one["account_id"] == self.account]

    def message_groups(self) -> set[str]:
        """Return the groups of all messages that were sent to the queue in batches."""
        return {
            entry["MessageGroupId"]
            for operation, body in self.harness.faults.sent
            if operation == "SendMessageBatch"
            for entry in body["Entries"]
        }

    def sent_again(self) -> list[dict[str, Any]]:
        """Return the messages sent back to the queue, at each of the SDK's own tries."""
        return [
            entry
            for operation, body in self.harness.faults.sent
            if operation == "SendMessageBatch"
            for entry in body["Entries"]
            if TRIES in entry.get("MessageAttributes", {})
        ]

    def health(self, number: int = 1, **attributes: Any) -> Webhook:
        """Return a webhook as it is stored, after changes to attributes of its item where given."""
        webhook_id = samples.webhook(number).id
        if attributes:
            self.harness.aws.clients["dynamodb"].update_item(
                TableName=self.harness.aws.settings.webhooks_table,
                Key=item_keys.webhook_key(self.account, webhook_id),
                UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in attributes),
                ExpressionAttributeValues={f":{n}": value for n, value in attributes.items()},
            )
        webhook = self._store.get(self.account, webhook_id)
        assert webhook is not None
        return webhook

    def lose_secret(self, number: int = 1) -> None:
        """Remove a webhook's secret, which an edit of the table by hand can do."""
        self.harness.aws.clients["dynamodb"].update_item(
            TableName=self.harness.aws.settings.webhooks_table,
            Key=item_keys.webhook_key(self.account, samples.webhook(number).id),
            UpdateExpression="REMOVE secret",
        )

    def overdue(self, delivery: Delivery) -> None:
        """Make the next attempt of a delivery long overdue."""
        self.harness.aws.clients["dynamodb"].update_item(
            TableName=self.harness.aws.settings.deliveries_table,
            Key=item_keys.delivery_key(delivery.key),
            UpdateExpression="SET next_attempt_at = :long_ago",
            ExpressionAttributeValues={":long_ago": {"N": "1"}},
        )

    def _started(self, machine: str, named: Callable[[str], bool]) -> list[dict[str, Any]]:
        states = self.harness.aws.clients["stepfunctions"]
        listing = states.get_paginator("list_executions")
        with self.harness.faults.out_of_the_way():
            return [
                json.loads(states.describe_execution(executionArn=one["executionArn"])["input"])
                for page in listing.paginate(stateMachineArn=machine)
                for one in page["executions"]
                if named(one["name"])
            ]

    def rejected(self) -> dict[str, str | None]:
        """Take the messages off the events dead-letter queue: each body, and its reason."""
        taken = self.harness.aws.rejected()
        for message in taken:
            self.harness.aws.clients["sqs"].delete_message(
                QueueUrl=self.harness.aws.settings.events_dead_letter_queue_url,
                ReceiptHandle=message["ReceiptHandle"],
            )
        return {
            message["Body"]: message.get("MessageAttributes", {})
            .get("reason", {})
            .get("StringValue")
            for message in taken
        }

    def _add(self, url: str, number: int, account: str, changes: dict[str, Any]) -> Webhook:
        values = {"headers": {"Authorization": HEADER_VALUE}, **changes}
        webhook = samples.webhook(number, url=url, account_id=account, **values)
        self._store.create(webhook, SECRET, limit=2000)
        self._owners[account].add(item_keys.owner(account, webhook.id))
        return webhook

    def _bystander_got(self, transaction: str) -> int:
        requests = list(self.harness.bystander.requests)
        return sum(request.json["transaction_id"] == transaction for request in requests)

    def _stored(self, account: str) -> list[Delivery]:
        query = self.harness.aws.clients["dynamodb"].get_paginator("query")
        with self.harness.faults.out_of_the_way():
            return [
                read_delivery(item)
                for owner in sorted(self._owners[account])
                for page in query.paginate(
                    TableName=self.harness.aws.settings.deliveries_table,
                    KeyConditionExpression="#owner = :owner",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={":owner": {"S": owner}},
                )
                for item in page["Items"]
            ]


def one_event(*requests: Request) -> bool:
    """True if all of these are the same event: one id, one delivery, the very same bytes."""
    named = {
        (one.headers["webhook-id"], one.headers["x-sendcomms-delivery"], one.body)
        for one in requests
    }
    return len(named) == 1


def signed(request: Request, secret: str = SECRET) -> bool:
    """True if both signatures of a request are right and made with this secret.

    Verified as by a receiver: with the Standard Webhooks library, and the contract's three lines.
    """
    digest = hmac.new(secret.encode(), request.body, "sha256").hexdigest()
    if request.headers["x-sendcomms-signature"] != f"sha256={digest}":
        return False
    try:
        standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
    except standardwebhooks.WebhookVerificationError:
        return False
    return True
