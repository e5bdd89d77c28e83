"""Two releases of the functions on the same tables, queues and state machines.

The release before runs in its own process (`former_program`). The functions that a state
machine calls wait behind a gate until a test opens it, so that executions are open while the
release changes, however busy the machine is.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

import dispatcher.handler
import retrier.handler
import worker.handler
from api.app import Api
from local import resources, template
from local.aws import aws_client, invoking
from local.functions import LocalFunction
from local.poller import failed_ids, to_record
from ops import handover
from ops.redrive import Stack, Wanted, redrive_deliveries
from support.backend import LOOPBACK
from support.former_release import unpack
from support.http_api import AccountClient
from support.moto_in_process import serving_in_process
from support.stack import Queue, eventually
from support.state_machines import hurried, hurry
from upgrade.former_functions import Former, former_environment
from webhooks.domain.delivery import DeliveryKey
from webhooks.settings import Settings
from webhooks.wiring import jobs as wired_jobs
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.redrive import RedriveServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from local.resources import Resources

_MACHINES = {"RetryStateMachine": "retry", "RecoveryStateMachine": "recovery"}
_NEW_MACHINES = ("ShortRetryStateMachine", "JobStateMachine")
_VARIABLES = {
    "RETRY_SCHEDULE": "0,0,0",
    "RECOVERY_SCHEDULE": "1",
    "CURSOR_KEY": "arn:aws:cloudformation:us-east-1:123456789012:stack/one",
    "MAX_WEBHOOKS_PER_HOST": "100",
    "STACK_NAME": "releases",
}
SWEEP_SECONDS = 3.0


class _Execution(NamedTuple):
    name: str
    status: str


class Releases:
    """A stack whose functions are of one release at a time; at first, of neither."""

    def __init__(self, endpoint: str, made: Resources, former: Former, root: Path) -> None:
        self.endpoint = endpoint
        self.made = made
        self.former = former
        self._root = root
        self._is_former = True
        self._gate = threading.Event()
        self._later: list[tuple[str, str | None]] = []
        self._swept_at = 0.0
        self.free: set[str] = set()
        """Accounts whose calls do not wait behind the gate."""
        self.waiting: list[str] = []
        """The accounts of the calls that waited behind the gate, in order."""
        self.called: list[tuple[str, bool, str]] = []
        """Of each call: its account, whether the release before was deployed, and the function."""
        self.states = aws_client("stepfunctions", endpoint)
        self.sqs = aws_client("sqs", endpoint)

    # The deployed functions

    def deploy_former(self) -> None:
        """Deploy the release before, as an update or a rollback: new resources are deleted."""
        self._is_former = True
        for machine, name in _MACHINES.items():
            source = self._root / "statemachines" / f"{name}.asl.yaml"
            definition = hurry(yaml_parse(source.read_text(encoding="utf-8")))
            self._define(machine, json.dumps(definition), "RetrierFunctionArn", "RetrierFunction")

    def deploy_this(self) -> None:
        """Deploy this release with `FormerNames=true`."""
        self._is_former = False
        translated = template.load(parameters={"FormerNames": "true"})
        for machine in (*_MACHINES, *_NEW_MACHINES):
            properties = hurried(translated, machine)["Resources"][machine]["Properties"]
            text = properties["DefinitionString"]
            self._define(machine, text, "WorkerFunctionArn", "WorkerFunction")

    def roll_back(self) -> None:
        """Deploy the release before over this one, like `make rollback`."""
        now, then = template.read(), template.read(self._root / "template.yaml")
        outputs = {f"{name}Arn": arn for name, arn in self.made.state_machines.items()}
        going = handover.going(outputs, now, then)
        with handover.Stopper(self.states, going, print) as stopper:
            self.deploy_former()
            for machine in _NEW_MACHINES:
                self.states.delete_state_machine(stateMachineArn=self.made.state_machines[machine])
        handover.begin(self.states, outputs, stopper.jobs)

    def _define(self, machine: str, text: str, placeholder: str, function: str) -> None:
        values = {
            placeholder: self._function(function).arn,
            "DeadLetterQueueUrl": self.made.queues["DeadLetterQueue"],
            "SendMessageArn": "arn:aws:states:::sqs:sendMessage",
            "StartExecutionArn": "arn:aws:states:::states:startExecution",
        }
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        self.states.update_state_machine(
            stateMachineArn=self.made.state_machines[machine], definition=text
        )

    # The functions that state machines call

    @property
    def functions(self) -> list[LocalFunction]:
        return [self._function(name) for name in ("RetrierFunction", "WorkerFunction")]

    def _function(self, name: str) -> LocalFunction:
        def handle(event: Any, context: Any) -> Any:
            state = event.get("state", event)
            account_id = state["account_id"]
            if not self._gate.is_set() and account_id not in self.free:
                self.waiting.append(account_id)
                self._gate.wait(90)
            self.called.append((account_id, self._is_former, name))
            return self._invoke(name, event, context)

        return LocalFunction(self.made.functions[name].name, handle, timeout_seconds=45)

    def _invoke(self, name: str, event: Any, context: Any) -> Any:
        if self._is_former:
            if name == "WorkerFunction":
                # Lambda's answer for an absent function.
                raise type("ResourceNotFoundException", (Exception,), {})("Function not found")
            return self.former.call("retrier", event)
        modules: dict[str, Any] = {
            "RetrierFunction": retrier.handler,
            "WorkerFunction": worker.handler,
        }
        module = modules[name]
        return module.handle(event, context, self.worker_services)

    def open(self) -> None:
        """Let the waiting calls through the gate, and all later ones."""
        self._gate.set()

    def wait_for_call(self, account_id: str) -> None:
        """Wait until a state machine's call for an account is at the gate."""
        self.wait(lambda: account_id in self.waiting, f"a call for {account_id} waits")

    def wait(self, look: Callable[[], object], what: str) -> None:
        """Wait for a condition. Once the gate is open, the sweep runs meanwhile."""

        def found() -> bool | None:
            if look():
                return True
            if self._gate.is_set() and time.monotonic() - self._swept_at > SWEEP_SECONDS:
                self.sweep()
                self._swept_at = time.monotonic()
            return None

        eventually(found, what, timeout=45.0)

    def wait_until_shown(
        self, account: AccountClient, webhook: Mapping[str, Any], *states: str
    ) -> None:
        """Wait until the API shows a webhook in one of these states of health."""
        path = f"/api/v1/webhooks/{webhook['id']}"

        def shown() -> bool:
            return bool(account.call("GET", path).data["health"]["state"] in states)

        self.wait(shown, f"the webhook is {states}")

    def wait_until_ended(self, account: AccountClient, path: str) -> dict[str, Any]:
        """Wait until the API shows that a job has ended; returns it."""
        shown: dict[str, Any] = {}

        def ended() -> bool:
            answer = account.call("GET", path)
            assert answer.status == 200, answer.text
            shown.update(answer.data)
            return bool(shown["status"] != "running")

        self.wait(ended, f"{path} ends")
        return shown

    def calls(self, account_id: str) -> list[tuple[bool, str]]:
        """Return state machines' calls for an account: whether of the former release, and which."""
        return [call[1:] for call in self.called if call[0] == account_id]

    def executions(self, machine: str) -> list[_Execution]:
        """Return a state machine's executions."""
        arn = self.made.state_machines[machine]
        listed = self.states.list_executions(stateMachineArn=arn)["executions"]
        return [_Execution(str(one["name"]), str(one["status"])) for one in listed]

    # The other callers of functions

    @cached_property
    def api_services(self) -> ApiServices:
        return ApiServices(self._settings("ApiFunction"), rules=LOOPBACK)

    @cached_property
    def dispatcher_services(self) -> DispatcherServices:
        return DispatcherServices(self._settings("DispatcherFunction"), rules=LOOPBACK)

    @cached_property
    def worker_services(self) -> WorkerServices:
        return WorkerServices(self._settings("WorkerFunction"), rules=LOOPBACK)

    def _settings(self, function: str) -> Settings:
        """Return a function's settings, with immediate retries."""
        environment = self.made.functions[function].environment
        address = {"AWS_ENDPOINT_URL": self.endpoint}
        return Settings.from_environment({**environment, **_VARIABLES, **address})

    @cached_property
    def _api(self) -> Api:
        return Api(self.api_services)

    def api(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Answer an HTTP API event with the deployed release."""
        if self._is_former:
            answer: dict[str, Any] = self.former.call("api", event)
            return answer
        return self._api(event, context)

    def account(self, account_id: str) -> AccountClient:
        """Return an account, with a key of the deployed release."""
        if self._is_former:
            key = self.former.call("issue_key", {"account_id": account_id})
        else:
            key = self.api_services.api_key_service.issue(account_id, "tests").text
        return AccountClient(self.api, key)

    @property
    def events(self) -> Queue:
        return Queue(self.sqs, self.made.queues["EventsQueue"])

    @property
    def rejected(self) -> Queue:
        return Queue(self.sqs, self.made.queues["EventsDeadLetterQueue"])

    @property
    def dead_letters(self) -> Queue:
        return Queue(self.sqs, self.made.queues["DeadLetterQueue"])

    def later(self, body: str, group: str | None) -> None:
        """Keep a message for the events queue until the release changes."""
        self._later.append((body, group))

    def enqueue(self) -> None:
        """Send the kept messages to the events queue."""
        for body, group in self._later:
            named = {"MessageGroupId": group} if group else {}
            self.sqs.send_message(
                QueueUrl=self.made.queues["EventsQueue"], MessageBody=body, **named
            )
        self._later.clear()

    def letters_of(self, account_id: str) -> list[dict[str, Any]]:
        """Return the messages about an account on the dead-letter queue, which stay there."""
        answer = self.sqs.receive_message(
            QueueUrl=self.made.queues["DeadLetterQueue"],
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            VisibilityTimeout=0,
        )
        bodies = [json.loads(one["Body"]) for one in answer.get("Messages", [])]
        return [body for body in bodies if body["account_id"] == account_id]

    def redrive(self, account_id: str) -> None:
        """Redrive an account's deliveries with the command of the deployed release."""
        if self._is_former:
            for letter in self.letters_of(account_id):
                ids = {name: letter[name] for name in DeliveryKey._fields}
                self.former.call("redrive", ids)
            return
        redriver = RedriveServices(self._settings("WorkerFunction")).redriver
        wanted = Wanted(account_id)
        redrive_deliveries(self.sqs, self.stack, redriver, wanted, lambda _: None, threads=1)

    @property
    def stack(self) -> Stack:
        """The input of this release's commands for dead-letter queues."""
        return Stack(
            self.made.tables["DeliveriesTable"],
            self.made.state_machines["RetryStateMachine"],
            self.made.queues["DeadLetterQueue"],
            self.made.queues["EventsDeadLetterQueue"],
            self.made.queues["EventsQueue"],
        )

    def dispatch(self) -> None:
        """Handle all messages on the events queue with the deployed release."""
        while self.dispatch_once():
            pass

    def dispatch_once(self) -> int:
        """Handle a batch with the deployed release; returns its number of messages."""
        url = self.made.queues["EventsQueue"]
        messages = self._receive(url)
        event = {"Records": [to_record(one, "arn:aws:sqs:x:1:events") for one in messages]}
        failed = failed_ids(self._dispatch(event), messages) if messages else set()
        for message in messages:
            if message["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def take(self) -> list[str]:
        """Take all messages off the events queue; returns their bodies."""
        url = self.made.queues["EventsQueue"]
        bodies = []
        while messages := self._receive(url):
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                bodies.append(str(message["Body"]))
        return bodies

    def _receive(self, url: str) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def _dispatch(self, event: Any) -> Any:
        if self._is_former:
            return self.former.call("dispatcher", event)
        function = LocalFunction("dispatcher", self._dispatch_this, timeout_seconds=60)
        result = function.invoke(event)
        assert not result.failed, result.payload
        return result.payload

    def _dispatch_this(self, event: Any, context: Any) -> Any:
        return dispatcher.handler.handle(event, context, self.dispatcher_services)

    @contextmanager
    def long_delays(self) -> Iterator[None]:
        """Send all of this release's retries to the machine of long delays."""
        before = self.dispatcher_services
        settings = replace(before.settings, short_delay_seconds=-1.0)
        self.dispatcher_services = DispatcherServices(settings, rules=LOOPBACK)
        yield
        self.dispatcher_services = before

    def sweep(self) -> Any:
        """Run the deployed release's sweep, as its schedule does."""
        if self._is_former:
            return self.former.call("retrier", {"action": "sweep"})
        function = LocalFunction(
            "sweep",
            lambda event, context: self._invoke("WorkerFunction", event, context),
            timeout_seconds=45,
        )
        result = function.invoke({"action": "sweep"})
        assert not result.failed, result.payload
        return result.payload


@contextmanager
def both_releases(directory: Path) -> Iterator[Releases]:
    """Make the template's resources, which both releases use; yields them."""
    root = unpack(directory)
    with ExitStack() as stack:
        endpoint = stack.enter_context(serving_in_process())
        made = resources.create(template.load(parameters={"FormerNames": "true"}), endpoint)
        former = Former(root, former_environment(made, endpoint, _VARIABLES))
        releases = Releases(endpoint, made, former, root)
        stack.enter_context(former)
        stack.enter_context(mock.patch.object(wired_jobs, "SETTLE_SECONDS", 1.0))
        stack.enter_context(invoking(releases.functions))
        # Before moto stops executions that wait behind the gate.
        stack.callback(releases.open)
        yield releases
