"""An account of the functions on moto: its owner's calls, its events, its state machines' steps."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dispatcher.handler
import worker.handler
from api.app import Api
from support import samples
from support.backend import lambda_context, sqs_event
from support.faults import Faults, refused
from support.http_api import AccountClient
from support.receiver import Answer, Receiver
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backend import Backend, Made
    from support.http_api import Answer as ApiAnswer
    from support.recorded_calls import Recorder
    from webhooks.wiring.common import CommonServices

WEBHOOKS = "/api/v1/webhooks"


class InvocationFixture:
    """An account as its owner, its producers and its state machines see it."""

    def __init__(self, aws: Backend, recorder: Recorder) -> None:
        self._recorder = recorder
        self.aws = aws
        self._services: dict[type[CommonServices], Any] = {}
        self._events = itertools.count(1)
        self._api = Api(self.services(ApiServices))
        self.key = self.services(ApiServices).api_key_service.issue("acc_1").text

    def services(self, kind: type[Made]) -> Made:
        if kind not in self._services:
            self._services[kind] = self.aws.services(kind)
        made: Made = self._services[kind]
        return made

    def call(self, method: str, path: str, status: int = 200, **request: Any) -> Any:
        """Call the api, assert the answer's status, and return its data."""
        with self._recorder.by("ApiFunction"):
            answer: ApiAnswer = AccountClient(self._api, self.key).call(method, path, **request)
        assert answer.status == status, answer.text
        return answer.json.get("data")

    def dispatch(self, *texts: str) -> None:
        """Handle a batch with the dispatcher, and assert that none failed."""
        with self._recorder.by("DispatcherFunction"):
            answer = dispatcher.handler.handle(
                sqs_event(*texts), lambda_context(), self.services(DispatcherServices)
            )
        assert answer == {"batchItemFailures": []}

    def retry(self, **state: Any) -> dict[str, Any]:
        """Run the worker on a state."""
        with self._recorder.by("WorkerFunction"):
            return worker.handler.handle(
                {"version": 1, **state}, lambda_context(), self.services(WorkerServices)
            )

    def event(self, **changes: Any) -> str:
        """Return a new event of the account, with the present time."""
        number = next(self._events)
        values = {"timestamp": now(), "transaction_id": f"txn_{number}", **changes}
        return samples.event_text(**values)

    def register(self, url: str, **fields: Any) -> str:
        webhook = self.call("POST", WEBHOOKS, 201, json={"url": url, "events": ["*"], **fields})
        return str(webhook["id"])

    @contextlib.contextmanager
    def webhook(self, *answers: Answer) -> Iterator[tuple[str, Receiver]]:
        """Register a webhook for the length of a `with` block."""
        with Receiver(*answers) as receiver:
            webhook_id = self.register(receiver.url)
            yield webhook_id, receiver
            self.call("DELETE", f"{WEBHOOKS}/{webhook_id}")

    @contextlib.contextmanager
    def short_delays(self) -> Iterator[None]:
        """Use a schedule that begins with two short delays, for the length of a `with` block."""
        before, services = self.aws.settings, self._services
        self.aws.settings = replace(
            before, short_delay_seconds=60.0, retry_schedule=(1.0, 1.0, 300.0)
        )
        self._services = {}
        yield
        self.aws.settings, self._services = before, services

    @contextlib.contextmanager
    def without_step_functions(self) -> Iterator[None]:
        """Refuse every start of an execution, for the length of a `with` block."""
        with self._refusing("StartExecution"):
            yield

    @contextlib.contextmanager
    def without_eventbridge(self) -> Iterator[None]:
        """Refuse every operational event, for the length of a `with` block."""
        with self._refusing("PutEvents"):
            yield

    @contextlib.contextmanager
    def _refusing(self, operation: str) -> Iterator[None]:
        faults = Faults()
        faults.on(operation, refused("ThrottlingException"))
        with faults.installed():
            yield

    def change(self, table: str, key: dict[str, str], **attributes: Any) -> None:
        """Set attributes of an item from outside, in time's or an operator's place."""
        self.aws.clients["dynamodb"].update_item(
            TableName=table,
            Key={name: {"S": value} for name, value in key.items()},
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in attributes),
            ExpressionAttributeValues={f":{name}": value for name, value in attributes.items()},
        )

    def put(self, table: str, item: dict[str, Any]) -> None:
        """Put an item into a table from outside."""
        self.aws.clients["dynamodb"].put_item(TableName=table, Item=item)

    def queued(self, field: str) -> list[str]:
        """Take every message off the events queue; returns the messages with this field."""
        return [text for text in self.aws.queued() if field in json.loads(text)]

    def item(self, webhook_id: str) -> dict[str, Any]:
        """Return a webhook's item as it is stored."""
        key = {"account_id": {"S": "acc_1"}, "webhook_id": {"S": webhook_id}}
        answer = self.aws.clients["dynamodb"].get_item(TableName="WebhooksTable", Key=key)
        item: dict[str, Any] = answer["Item"]
        return item

    def stop(self, delivery_id: str) -> None:
        """Stop the execution of a delivery's retries, an operator's act."""
        states = self.aws.clients["stepfunctions"]
        listed = states.list_executions(stateMachineArn=self.aws.settings.retry_state_machine_arn)
        for execution in listed["executions"]:
            if execution["name"].startswith(delivery_id):
                states.stop_execution(executionArn=execution["executionArn"])

    def deliveries(self, webhook_id: str, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(
            "GET", f"{WEBHOOKS}/{webhook_id}/deliveries", query=query
        )
        return found

    def retry_all(self, webhook_id: str, attempt: int = 2) -> list[dict[str, Any]]:
        """Make an attempt of each delivery that is being retried."""
        return [
            self.retry(**names(webhook_id), delivery_id=one["id"], attempt=attempt)
            for one in self.deliveries(webhook_id, status="retrying")
        ]


def names(webhook_id: str) -> dict[str, str]:
    """Return the ids of a webhook of the account, in a state's form and in its table key's."""
    return {"account_id": "acc_1", "webhook_id": webhook_id}


def now(offset_ms: int = 0) -> str:
    """Return a time that far from now, in the form of an event's timestamp."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_ms / 1000))
