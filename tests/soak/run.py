"""One soak: publish, let receivers misbehave, kill dispatchers, and account for every delivery."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING, Any

from local.aws import aws_client
from local.constants import REGION
from local.stack import LocalStack, StackOptions
from ops.api_key import KeysTable, issue
from ops.redrive import Wanted, redrive_events, stack_of
from soak.dispatchers import Dispatchers, make_soak_handler
from soak.ledger import Ledger, draw_up, first_retries
from soak.outages import STATE_FILE, Outages, Service, Switch
from soak.owners import Owners
from soak.plan import Kind, Plan
from soak.receivers import Receivers
from support.slowness import seconds
from support.stack import call
from support.tables import create_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local.functions import Handler
    from soak.plan import Hook, Published, Shape

Tell = Callable[[str], None]

_MESSAGES_A_SEND = 10
_MAX_BACKLOG = 20
"""With more messages in the queue, publishing waits: a longer queue makes moto slower."""

_PAUSE_SECONDS = 0.5
_PROGRESS_SECONDS = 10.0
_LETTERS_SECONDS = 30.0
_OWNERS_SECONDS = 60.0
_CALM_PAUSE_SECONDS = 4.0
_QUEUED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_FIRST_OUTAGE = 0.1
_OUTAGES_APART = 0.15
"""The part of the publishing at which the first service fails, and from there to the next."""


class Soak:
    """A soak under way. `run` does all of it."""

    def __init__(
        self, shape: Shape, seed: int, tell: Tell, log: IO[str], dynamodb_endpoint: str | None
    ) -> None:
        """`tell` receives the progress, `log` the functions' output.

        With a `dynamodb_endpoint` the tables are there, and not in moto.
        """
        self._plan = Plan(shape, seed)
        self._receivers = Receivers(self._plan.hooks, seed)
        self._random = Random(seed)  # noqa: S311  chance, not secrets
        self._tell = tell
        self._log = log
        self._dynamodb_endpoint = dynamodb_endpoint
        self._dispatchers: list[Dispatchers] = []
        self._outputs: Mapping[str, str] = {}
        self._ids: dict[int, str] = {}
        self._started = time.monotonic()
        self._told = 0.0
        self._published = 0
        self._over = threading.Event()
        self.first_retries: Sequence[float] = ()

    def run(self) -> Ledger:
        """Run the soak; returns its account."""
        shape = self._plan.shape
        parameters = {
            "RetrySchedule": shape.retry_schedule,
            "RecoverySchedule": shape.recovery_schedule,
            "DispatcherConcurrency": str(shape.dispatchers),
        }
        with contextlib.ExitStack() as running:
            state = Path(running.enter_context(tempfile.TemporaryDirectory())) / "outage"
            outages, self._switch = Outages(state), Switch(state)
            os.environ[STATE_FILE] = str(state)
            running.enter_context(self._switch.installed())
            running.enter_context(self._switch.sparing())
            running.enter_context(self._receivers)
            running.callback(self._close_dispatchers)
            stack = LocalStack(StackOptions(parameters=parameters), self._make_handler)
            self._outputs = running.enter_context(stack).outputs
            self._prepare(running)
            self._tell(self._heading())
            self._publish_all(self._plan.events[: shape.calm_events], _CALM_PAUSE_SECONDS)
            calm_until = time.time()
            running.enter_context(self._outages(outages))
            self._owners.start()
            for dispatchers in self._dispatchers:
                dispatchers.doomed = shape.doomed
            self._publish_all(self._plan.events[shape.calm_events :])
            disabled = self._owners.stop(seconds(_OWNERS_SECONDS))
            settled = self._wait_until(self._settled)
            ledger = self._account(calm_until)
        ledger.problems += [f"a webhook could not be enabled: {path}" for path in disabled]
        out = len(outages.past)
        if out < len(Service):
            ledger.problems.append(f"only {out} of {len(Service)} services failed")
        if not settled:
            ledger.problems.append(f"it was not over after {shape.deadline_seconds:.0f} seconds")
        return ledger

    def _make_handler(self, name: str, environment: Mapping[str, str]) -> Handler:
        """Run the dispatcher in processes of its own, the other functions in this one."""
        if self._dynamodb_endpoint is not None:
            # The SDK's own variable, which takes precedence over an endpoint of all services.
            os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = self._dynamodb_endpoint
            environment = {k: v for k, v in environment.items() if k != "AWS_ENDPOINT_URL"}
        if not name.startswith("dispatcher."):
            return self._switch.handler(make_soak_handler(name, environment))
        self._dispatchers.append(Dispatchers(name, environment, self._log, 0.0, self._random))
        return self._switch.handler(self._dispatchers[-1])

    @contextlib.contextmanager
    def _outages(self, outages: Outages) -> Iterator[None]:
        """Fail each service once while events are published."""
        thread = threading.Thread(target=self._fail, args=(outages,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _fail(self, outages: Outages) -> None:
        for number, service in enumerate(Service):
            while self._receivers.published < _FIRST_OUTAGE + number * _OUTAGES_APART:
                if self._over.wait(_PAUSE_SECONDS / 5):
                    return
            self._tell(f"{service} is out for {self._plan.shape.aws_outage_seconds:.0f} seconds")
            outages.begin_and_end(service, self._plan.shape.aws_outage_seconds, self._over)

    def _close_dispatchers(self) -> None:
        for dispatchers in self._dispatchers:
            dispatchers.close()

    def _client(self, service: str) -> Any:
        endpoint = self._outputs["AwsEndpointUrl"]
        if service == "dynamodb" and self._dynamodb_endpoint is not None:
            endpoint = self._dynamodb_endpoint
        return aws_client(service, endpoint)

    def _prepare(self, running: contextlib.ExitStack) -> None:
        self._sqs = running.enter_context(contextlib.closing(self._client("sqs")))
        self._dynamodb = running.enter_context(contextlib.closing(self._client("dynamodb")))
        if self._dynamodb_endpoint is not None:
            create_tables(self._dynamodb, self._outputs)
        self._sqs.set_queue_attributes(
            QueueUrl=self._outputs["EventsQueueUrl"],
            Attributes={"VisibilityTimeout": str(self._plan.shape.visibility_seconds)},
        )
        table = KeysTable(
            self._outputs["ApiKeysTable"],
            self._dynamodb_endpoint or self._outputs["AwsEndpointUrl"],
            REGION,
        )
        keys = {account_id: issue(table, account_id) for account_id in self._plan.accounts}
        self._owners = Owners(self._outputs["ApiUrl"], self._plan.shape.toggle_seconds)
        for hook in self._plan.hooks:
            self._register(hook, keys[hook.account_id])

    def _register(self, hook: Hook, key: str) -> None:
        body = json.dumps({"url": self._receivers.url(hook), "events": hook.events})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        answer = call(
            self._outputs["ApiUrl"], "POST", "/api/v1/webhooks", headers=headers, body=body
        )
        self._ids[hook.number] = answer.data["id"]
        self._receivers.expect(hook, answer.data["secret"])
        if hook.kind is Kind.TOGGLED:
            self._owners.add(answer.data["id"], headers)

    def _publish_all(self, events: Sequence[Published], pause_seconds: float = 0.0) -> None:
        for start in range(0, len(events), _MESSAGES_A_SEND):
            self._publish(events[start : start + _MESSAGES_A_SEND])
            time.sleep(pause_seconds)

    def _publish(self, events: Sequence[Published]) -> None:
        # Counting messages is work for moto too, so not each time.
        while self._published % _MAX_BACKLOG == 0 and (
            self._queued("EventsQueueUrl", _QUEUED[:1]) > _MAX_BACKLOG
        ):
            self._progress()
            time.sleep(_PAUSE_SECONDS)
        entries = [
            {"MessageBody": event.message, "MessageGroupId": event.account_id}
            for event in events
            for _ in range(event.times)
        ]
        for start in range(0, len(entries), _MESSAGES_A_SEND):
            answer = self._sqs.send_message_batch(
                QueueUrl=self._outputs["EventsQueueUrl"],
                Entries=[
                    {"Id": str(index), **entry}
                    for index, entry in enumerate(entries[start : start + _MESSAGES_A_SEND])
                ],
            )
            if answer.get("Failed"):
                msg = f"SQS did not take what was published: {answer['Failed']}"
                raise RuntimeError(msg)
        self._published += len(events)
        self._receivers.published = self._published / self._plan.shape.events
        self._progress()

    def _wait_until(self, over: Callable[[], bool]) -> bool:
        """Wait for a condition, no longer than the deadline; True if it came in time."""
        deadline = self._started + seconds(self._plan.shape.deadline_seconds)
        while not over():
            if time.monotonic() > deadline:
                return False
            self._progress()
            time.sleep(_PAUSE_SECONDS)
        return True

    def _dispatched(self) -> bool:
        return self._queued("EventsQueueUrl", _QUEUED) == 0

    def _settled(self) -> bool:
        """True if all work is done; dead-lettered messages are redriven on the way."""
        if not self._dispatched():
            return False
        if self._queued("EventsDeadLetterQueueUrl", _QUEUED):
            redrive_events(self._sqs, stack_of(self._outputs), Wanted(), self._tell)
            return False
        due = sum(
            len(self._plan.due[hook.number])
            for hook in self._plan.hooks
            if hook.kind.gets_everything
        )
        if len(self._receivers.receipts) < due:
            return False
        ledger = self._draw_up()
        return ledger.accounted and not (self._plan.shape.until_settled and ledger.unsettled)

    def _account(self, calm_until: float) -> Ledger:
        ledger = self._draw_up()
        self.first_retries = first_retries(
            self._plan, self._ids, self._dynamodb, self._outputs["DeliveriesTable"], calm_until
        )
        ledger.problems += self._receivers.problems
        deadline = time.monotonic() + seconds(_LETTERS_SECONDS)
        unnamed = ledger.exhausted - self._letters()
        while unnamed and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            unnamed -= self._letters()
        ledger.problems += [f"exhausted delivery {one} has no dead letter" for one in unnamed]
        return ledger

    def _draw_up(self) -> Ledger:
        table = self._outputs["DeliveriesTable"]
        return draw_up(self._plan, self._ids, self._receivers.receipts, self._dynamodb, table)

    def _letters(self) -> set[str]:
        """Take the messages in the dead-letter queue; returns the ids of its deliveries."""
        queue_url = self._outputs["DeadLetterQueueUrl"]
        ids: set[str] = set()
        while messages := self._sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                ids.add(json.loads(message["Body"])["delivery_id"])
                self._sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return ids

    def _queued(self, queue: str, names: Sequence[str]) -> int:
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._outputs[queue], AttributeNames=list(names)
        )
        return sum(int(answer["Attributes"][name]) for name in names)

    def _heading(self) -> str:
        shape = self._plan.shape
        due = sum(map(len, self._plan.due.values()))
        where = "DynamoDB Local" if self._dynamodb_endpoint else "moto"
        return (
            f"{shape.events:,} events of {shape.accounts} accounts for {len(self._plan.hooks)} "
            f"webhooks: {due:,} deliveries; tables in {where}"
        )

    @property
    def killed(self) -> int:
        """The number of killed dispatchers so far."""
        return sum(dispatchers.killed for dispatchers in self._dispatchers)

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._told < _PROGRESS_SECONDS:
            return
        self._told = now
        minutes, seconds = divmod(int(now - self._started), 60)
        queued = self._queued("EventsQueueUrl", _QUEUED)
        self._tell(
            f"{minutes:02}:{seconds:02}  {self._published:,} events published, "
            f"{len(self._receivers.receipts):,} deliveries arrived, {queued} messages in the "
            f"queue, {self.killed} dispatchers killed"
        )
