"""AWS calls in IAM's form: the code's own, and the calls that AWS makes for it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local import template
from support.policies import ACCOUNT, REGION, Call, arn, loaded, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.backend import Backend

_KEYWORDS = {
    *("attribute_exists", "attribute_not_exists", "if_not_exists", "begins_with", "size"),
    *("SET", "REMOVE", "ADD", "AND", "OR", "NOT", "BETWEEN", "IN"),
}
_TRANSACTIONS = ("TransactWriteItems", "TransactGetItems")
_TABLES_KEY_ACTIONS = (
    *("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"),
)
"""The uses of a table's key by DynamoDB in its caller's name ("Using IAM policies with customer
managed keys", DynamoDB's developer guide, whose two wildcards are spelled out here)."""

_TRACES = ("PutTraceSegments", "PutTelemetryRecords")
_SAMPLES = ("GetSamplingRules", "GetSamplingTargets")
_LOG_DELIVERY_ACTIONS = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery"),
    *("ListLogDeliveries", "PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)
"""The permissions that a state machine's role needs to log ("Logging using CloudWatch Logs",
Step Functions)."""

_INTEGRATIONS = {
    "arn:aws:states:::sqs:sendMessage": ("sqs:SendMessage", "QueueUrl"),
    "arn:aws:states:::states:startExecution": ("states:StartExecution", "StateMachineArn.$"),
}


class Recorder:
    """Keeps calls under the name of the function that makes them."""

    def __init__(self, aws: Backend) -> None:
        """Watch the calls of `aws` from now on."""
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.raw: defaultdict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self._function: str | None = None
        settings = aws.settings
        self._resources = Resources(
            queues={
                settings.events_queue_url: "EventsQueue",
                settings.events_dead_letter_queue_url: "EventsDeadLetterQueue",
            },
            machines={
                settings.retry_state_machine_arn: "RetryStateMachine",
                settings.short_retry_state_machine_arn: "ShortRetryStateMachine",
                settings.job_state_machine_arn: "JobStateMachine",
            },
        )
        aws.observers.append(self._observe)

    @contextmanager
    def by(self, function: str) -> Iterator[None]:
        """Attribute the calls within to a function, for example `ApiFunction`."""
        self._function = function
        try:
            yield
        finally:
            self._function = None

    def _observe(self, operation: str, parameters: dict[str, Any]) -> None:
        if self._function is not None:
            self.raw[self._function].append((operation, parameters))
            self.calls[self._function] += self._resources.calls(operation, parameters)


class Resources:
    """Finds the resource of the template that a call is about."""

    def __init__(
        self,
        *,
        queues: Mapping[str, str],
        machines: Mapping[str, str],
        tables: Mapping[str, str] | None = None,
    ) -> None:
        """Take the logical ids by address, ARN and name; a table's name may be its logical id."""
        self._queues = {url: arn(name) for url, name in queues.items()}
        self._machines = {one: arn(name) for one, name in machines.items()}
        self._tables = tables or {}

    @classmethod
    def of(cls, outputs: Mapping[str, str]) -> Resources:
        """Return the resources of a local stack, by its outputs."""
        machines = ("RetryStateMachine", "ShortRetryStateMachine", "JobStateMachine")
        return cls(
            queues={
                outputs[f"{name}Url"]: name for name in ("EventsQueue", "EventsDeadLetterQueue")
            },
            machines={outputs[f"{name}Arn"]: name for name in machines},
            tables={
                outputs[name]: name for name in template.of_type(loaded(), "AWS::DynamoDB::Table")
            },
        )

    def calls(self, operation: str, parameters: Mapping[str, Any]) -> Iterator[Call]:
        """Give a call in IAM's form; KeyError for an operation that is unknown here."""
        if operation in {"SendMessage", "SendMessageBatch"}:
            # IAM has one action for both.
            yield Call("sqs:SendMessage", self._queues[parameters["QueueUrl"]])
        elif operation == "StartExecution":
            yield Call("states:StartExecution", self._machines[parameters["stateMachineArn"]])
        elif operation == "DescribeExecution":
            machine, _, name = parameters["executionArn"].rpartition(":")
            known = self._machines[machine.replace(":execution:", ":stateMachine:")]
            execution = f"{known.replace(':stateMachine:', ':execution:')}:{name}"
            yield Call("states:DescribeExecution", execution)
        elif operation == "PutEvents":
            for bus in {entry.get("EventBusName", "default") for entry in parameters["Entries"]}:
                # All of the call's sources are one key's values.
                sources = frozenset(entry["Source"] for entry in parameters["Entries"])
                resource = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}"
                yield Call("events:PutEvents", resource, {"events:source": sources})
        elif operation in _TRANSACTIONS:
            for item in parameters["TransactItems"]:
                [(kind, inner)] = item.items()
                yield self._table_call(f"{kind}Item", inner["TableName"], inner)
        elif "RequestItems" in parameters:
            for table, request in parameters["RequestItems"].items():
                yield self._table_call(operation, table, _batch(request))
        else:
            yield self._table_call(operation, parameters["TableName"], parameters)

    def _table_call(self, operation: str, name: str, parameters: Mapping[str, Any]) -> Call:
        return _table_call(operation, self._tables.get(name, name), parameters)


def _table_call(operation: str, table: str, parameters: Mapping[str, Any]) -> Call:
    index = parameters.get("IndexName")
    resource = arn(table) + (f"/index/{index}" if index else "")
    context = {
        "dynamodb:LeadingKeys": _leading_keys(table, index, parameters),
        "dynamodb:Attributes": named_attributes(parameters),
    }
    if operation in {"GetItem", "Query", "BatchGetItem"}:
        chosen = "SPECIFIC_ATTRIBUTES" if "ProjectionExpression" in parameters else "ALL_ATTRIBUTES"
        context["dynamodb:Select"] = frozenset({parameters.get("Select", chosen)})
    if "ReturnValues" in parameters:
        context["dynamodb:ReturnValues"] = frozenset({parameters["ReturnValues"]})
    return Call(f"dynamodb:{operation}", resource, context)


def _batch(request: Any) -> dict[str, Any]:
    """Return a batch's part for one table as if it were a single call with several keys."""
    if isinstance(request, list):
        return {"Items": [next(iter(write.values())) for write in request]}
    return {**request, "Items": [{"Key": key} for key in request["Keys"]]}


def named_attributes(parameters: Mapping[str, Any]) -> frozenset[str]:
    """Return the attributes that a call names, in the form of IAM's `dynamodb:Attributes`."""
    names = {name for item in _items(parameters) for name in item}
    aliases = parameters.get("ExpressionAttributeNames", {})
    for field, text in parameters.items():
        if field.endswith("Expression"):
            words = re.findall(r"[#:]?\w+", text)
            names |= {
                aliases.get(word, word)
                for word in words
                if not word.startswith(":") and not word.isdecimal()
            }
    return frozenset(names - _KEYWORDS)


def _items(parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for one in (parameters, *parameters.get("Items", ())):
        for part in ("Key", "Item"):
            yield one.get(part, {})


def _leading_keys(table: str, index: str | None, parameters: Mapping[str, Any]) -> frozenset[str]:
    properties = loaded()["Resources"][table]["Properties"]
    schemas = {
        one["IndexName"]: one["KeySchema"] for one in properties.get("GlobalSecondaryIndexes", [])
    }
    schema = schemas[index] if index else properties["KeySchema"]
    [name] = [one["AttributeName"] for one in schema if one["KeyType"] == "HASH"]
    found = {item[name]["S"] for item in _items(parameters) if name in item}
    condition = parameters.get("KeyConditionExpression", "")
    for left, value in re.findall(r"(#?\w+) = (:\w+)", condition):
        if parameters.get("ExpressionAttributeNames", {}).get(left, left) == name:
            found.add(parameters["ExpressionAttributeValues"][value]["S"])
    assert found, f"no partition in {parameters}"
    return frozenset(found)


def read_calls(file: Path, resources: Resources) -> Iterator[tuple[str, Call]]:
    """Give the calls that `support.observed_run` recorded, each with its function."""
    with file.open(encoding="utf-8") as lines:
        for function, operation, parameters in map(json.loads, lines):
            for call in resources.calls(operation, parameters):
                yield f"{function.capitalize()}Function", call


def made_by_aws(function: str, calls: list[Call]) -> Iterator[Call]:
    """Give AWS's own calls for a function: its logs, its queue, the key of its tables."""
    properties = loaded()["Resources"][function]["Properties"]
    log_group = resolved(properties["LoggingConfig"]["LogGroup"])
    yield Call("logs:CreateLogStream", log_group)
    yield Call("logs:PutLogEvents", log_group)
    mappings = template.of_type(loaded(), "AWS::Lambda::EventSourceMapping").values()
    for mapping in (one["Properties"] for one in mappings):
        if mapping["FunctionName"] == {"Ref": function}:
            queue = resolved(mapping["EventSourceArn"])
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
                yield Call(f"sqs:{action}", queue)
    if "TracingConfig" in properties:
        for action in _TRACES:
            yield Call(f"xray:{action}", "*")
    tables = {call.resource.partition("/index/")[0] for call in calls if ":table/" in call.resource}
    for table in sorted(tables):
        name = table.rpartition("/")[2]
        key = loaded()["Resources"][name]["Properties"]["SSESpecification"]["KMSMasterKeyId"]
        via = {"kms:ViaService": frozenset({f"dynamodb.{REGION}.amazonaws.com"})}
        for action in _TABLES_KEY_ACTIONS:
            yield Call(f"kms:{action}", resolved(key), via)


def made_by_machine(machine: str) -> Iterator[Call]:
    """Give the calls of a state machine's definition, and its logging's."""
    resource = loaded()["Resources"][machine]
    properties = resource["Properties"]
    given = properties["DefinitionSubstitutions"].items()
    text = template.definition(resource, {name: resolved(value) for name, value in given})
    for state in json.loads(text)["States"].values():
        if state["Type"] != "Task":
            continue
        if state["Resource"] in _INTEGRATIONS:
            action, parameter = _INTEGRATIONS[state["Resource"]]
            target = state["Parameters"][parameter]
            yield Call(action, arn(machine) if target == "$$.StateMachine.Id" else target)
        else:
            yield Call("lambda:InvokeFunction", state["Resource"])
    if "TracingConfiguration" in properties:
        for action in (*_TRACES, *_SAMPLES):
            yield Call(f"xray:{action}", "*")
    if "LoggingConfiguration" in properties:
        for action in _LOG_DELIVERY_ACTIONS:
            yield Call(f"logs:{action}", "*")
