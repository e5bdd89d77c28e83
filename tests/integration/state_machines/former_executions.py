"""Executions of the former release, on the template's resources after the update."""

from __future__ import annotations

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from integration.state_machines.state_coverage import walked
from local import template
from local.aws import aws_client
from local.functions import LocalFunction
from support import samples
from support.backend import LOOPBACK
from support.faults import SDK_TRIES, Faults, refused
from support.state_machines import StateMachine
from webhooks.adapters.dynamodb.webhooks import DynamoDBWebhookStore
from webhooks.domain.delivery import delivery_id
from webhooks.settings import Settings
from webhooks.wiring.job_stores import JobStores
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from local.resources import Resources
    from support.receiver import Receiver
    from webhooks.domain.delivery import Delivery

FORMER = Path(__file__).parents[2] / "data" / "former"
DEFINITIONS = {"RetryStateMachine": "retry", "RecoveryStateMachine": "recovery"}
NOW_MS = int(time.time() * 1000)
"""The real time: the functions' items expire by the real clock."""


def rendered(former_names: str) -> dict[str, Any]:
    return template.existing(template.load(parameters={"FormerNames": former_names}))


def former(name: str) -> dict[str, Any]:
    """Return a definition of the former release."""
    source = FORMER / f"{name}.asl.yaml"
    definition: dict[str, Any] = yaml_parse(source.read_text(encoding="utf-8"))
    return definition


class Ran(NamedTuple):
    """The result of an execution."""

    status: str
    walk: list[str]
    errors: list[str]


class FormerExecutionFixture:
    """The template's resources after the update, with executions that began before it."""

    def __init__(self, endpoint: str, made: Resources, faults: Faults) -> None:
        self.faults = faults
        self.made = made
        self.endpoint = endpoint
        self.called: Counter[str] = Counter()
        self.states = aws_client("stepfunctions", endpoint)
        settings = Settings.from_environment(
            {
                **made.functions["RetrierFunction"].environment,
                "RETRY_SCHEDULE": "0,0,0",
                "AWS_ENDPOINT_URL": endpoint,
            }
        )
        self.services = WorkerServices(settings, rules=LOOPBACK)
        self.job_stores = JobStores(aws_client("dynamodb", endpoint), settings)
        self.webhooks = DynamoDBWebhookStore(
            aws_client("dynamodb", endpoint),
            settings.webhooks_table,
            deliveries_table=settings.deliveries_table,
            retention_days=30,
        )

    def function(self, name: str, handle: Any) -> LocalFunction:
        return LocalFunction(
            name=self.made.functions[name].name,
            handler=partial(self._call, name, handle),
            timeout_seconds=45,
        )

    def _call(self, name: str, handle: Any, state: Any, context: Any) -> Any:
        self.called[name] += 1
        return handle(state, context, self.services)

    def machine(self, name: str) -> StateMachine:
        return StateMachine(self.endpoint, self.made, name)

    def start(self, machine: str, state: dict[str, Any]) -> str:
        """Begin an execution of the former release, whose first call of DynamoDB fails."""
        account_id = state["account_id"]
        self.faults.on(
            "GetItem", refused("InternalServerError", 500), about=account_id, times=SDK_TRIES
        )
        self.called.clear()
        [*_, last_id] = [value for name, value in state.items() if name.endswith("_id")]
        started = self.states.start_execution(
            stateMachineArn=self.made.state_machines[machine],
            name=f"{account_id}-{last_id}",
            input=json.dumps(state),
        )
        return str(started["executionArn"])

    def ran(self, machine: str, execution: str) -> Ran:
        """Wait for an execution to end."""
        status, _ = self.machine(machine).ended(execution)
        history = self.states.get_execution_history(executionArn=execution, maxResults=1000)
        errors = [
            event["lambdaFunctionFailedEventDetails"]["error"]
            for event in history["events"]
            if "lambdaFunctionFailedEventDetails" in event
        ]
        states = former(DEFINITIONS[machine])["States"]
        return Ran(status, walked(states, history["events"]), errors)

    def webhook(self, account_id: str, receiver: Receiver) -> None:
        webhook = samples.webhook(url=receiver.url, account_id=account_id)
        self.webhooks.create(webhook, samples.SECRET, limit=50)

    def delivery(self, account_id: str, number: int = 0, **values: Any) -> Delivery:
        """Store a delivery, a second older than the one before it."""
        occurred_at_ms = NOW_MS - number * 1000
        one = samples.delivery(
            account_id=account_id,
            id=delivery_id(f"evt_{number}", occurred_at_ms, samples.WEBHOOK_ID),
            event_id=f"evt_{number}",
            created_at_ms=occurred_at_ms,
            **values,
        )
        return self.services._deliveries.create(one)

    def now(self, delivery: Delivery) -> Delivery:
        found = self.services._deliveries.get(delivery.key)
        assert found is not None
        return found
