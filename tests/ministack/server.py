"""Serves ministack, with the parts that its CloudFormation and its API Gateway lack.

`.venv-ministack/bin/python tests/ministack/server.py PORT API_PORT` serves AWS's APIs on PORT of
loopback, and the HTTP API that was made last at the root of API_PORT. The stack's template, layers
and functions are deployed as they are. The workarounds are here, each with its reason.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
    Properties = dict[str, Any]
    Made = tuple[str, dict[str, Any]]
    """A resource's physical id and attributes."""

HOST = "127.0.0.1"
WORKERS = Path(__file__).parent / "workers"
_ANY_METHOD = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"


def settings(port: int) -> dict[str, str]:
    """Return the environment that ministack reads at import."""
    return {
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": "us-east-1",
        "MINISTACK_ACCOUNT_ID": "123456789012",
        "LAMBDA_EXECUTOR": "local",
        # The functions' processes inherit it: see `workers/sitecustomize.py`.
        "PYTHONPATH": str(WORKERS),
        # None of these is needed, and each would open a port or look for a program.
        "DOCKER_HOST": "unix:///nonexistent",
        "IOT_MTLS_ENABLED": "false",
        "SFTP_ENABLED": "false",
    }


def make_saved_queries(handlers: dict[str, Any]) -> None:
    """Accept `AWS::Logs::QueryDefinition`, a type that the emulator's CloudFormation refuses."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        return logical_id, {"QueryDefinitionId": logical_id}

    def delete(physical_id: str, properties: Properties) -> None:
        """Nothing was made."""

    handlers["AWS::Logs::QueryDefinition"] = {"create": create, "delete": delete}


def give(handlers: dict[str, Any], kind: str, change: Callable[[Properties], Properties]) -> None:
    """Give the handlers of a type changed properties on creation and update."""
    handler = handlers[kind]
    create, update = handler["create"], handler["update"]

    def created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create(logical_id, change(properties), stack)
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Made:
        made: Made = update(physical_id, change(old), change(new), *rest)
        return made

    handler["create"], handler["update"] = created, updated


def alarm_on_the_first_metric(properties: Properties) -> Properties:
    """Change an alarm on metric math, which the emulator's CloudFormation refuses, to a plain one.

    The alarm is thus made, changed and deleted with the stack. No alarm is to fire here.
    """
    measured = [one["MetricStat"] for one in properties.get("Metrics", ()) if "MetricStat" in one]
    if not measured:
        return properties
    first = measured[0]
    kept = {name: value for name, value in properties.items() if name != "Metrics"}
    return {**kept, **first["Metric"], "Period": first["Period"], "Statistic": "Sum"}


def concurrency_as_a_number(properties: Properties) -> Properties:
    """Read a queue's concurrency, which the emulator leaves as a parameter's text.

    Its poller then fails each time it compares the text with the number of invocations.
    """
    scaling = properties.get("ScalingConfig")
    if not scaling:
        return properties
    most = int(scaling["MaximumConcurrency"])
    return {**properties, "ScalingConfig": {"MaximumConcurrency": most}}


def read_definitions_in_yaml(resources: Any) -> None:
    """Read state machines' definitions in YAML, which CloudFormation takes and the emulator keeps.

    It creates the machine with the text, and each execution then fails as `InvalidDefinition`.
    """
    definition_of = resources._sfn_definition
    load = importlib.import_module("yaml").safe_load

    def definition(properties: Properties) -> str:
        return json.dumps(load(definition_of(properties)))

    resources._sfn_definition = definition


def make_routes_of_the_body(handlers: dict[str, Any], gateway: Any) -> None:
    """Make an HTTP API's routes, which the emulator's CloudFormation leaves in its `Body`."""
    handler = handlers["AWS::ApiGatewayV2::Api"]
    create, update = handler["create"], handler["update"]

    def make_routes(api_id: str, body: Properties) -> None:
        gateway._routes[api_id] = {}
        gateway._integrations[api_id] = {}
        for path, methods in body.get("paths", {}).items():
            for method, operation in methods.items():
                integration = operation[_INTEGRATION]
                settings = {
                    "integrationUri": integration["uri"],
                    "payloadFormatVersion": integration["payloadFormatVersion"],
                }
                gateway._create_integration(api_id, settings)
                identifier = list(gateway._integrations[api_id])[-1]
                verb = "ANY" if method == _ANY_METHOD else method.upper()
                route = {"routeKey": f"{verb} {path}", "target": f"integrations/{identifier}"}
                gateway._create_route(api_id, route)

    def created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create(logical_id, properties, stack)
        make_routes(made[0], properties["Body"])
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Made:
        made: Made = update(physical_id, old, new, *rest)
        make_routes(made[0], new["Body"])
        return made

    handler["create"], handler["update"] = created, updated


def ask_for_actions_of_iam(actions: Any) -> None:
    """Ask a role that sends a batch to SQS for `SendMessage`: IAM has no `SendMessageBatch`.

    The service authorization reference of Amazon SQS lists none of the batches as an action, and
    the guide to SQS's permissions has each allowed by the action for one message.
    """
    extract = actions.extract_iam_action

    def extracted(*request: Any) -> str | None:
        action: str | None = extract(*request)
        if action and action.startswith("sqs:"):
            return action.removesuffix("Batch")
        return action

    actions.extract_iam_action = extracted


def know_the_source_of_events(actions: Any) -> None:
    """Give a policy's conditions the key `events:source`, which the emulator does not have.

    It is multivalued: the source of each entry of the call.
    """
    context_of = actions.request_tag_context

    def context(service: str, action: str, body: bytes, params: Any) -> dict[str, Any]:
        found: dict[str, Any] = context_of(service, action, body, params)
        if action == "events:PutEvents":
            sources = [entry["Source"] for entry in json.loads(body)["Entries"]]
            return {**found, "events:source": sources}
        return found

    actions.request_tag_context = context


def name_denials(evaluator: Any) -> None:
    """Print each call that IAM denies, in a line that begins with DENIED.

    The functions' own logs do not: for example, a refused part of a batch has no such error.
    """
    enforce = evaluator.enforce

    def enforced(access_key: str, action: str, *request: Any, **named: Any) -> Any:
        denied = enforce(access_key, action, *request, **named)
        if denied is not None:
            who = getattr(denied, "principal_arn", denied)
            print(f"DENIED {who} {action} {named.get('resource_arn')}", flush=True)
        return denied

    evaluator.enforce = enforced


def served(application: Application, gateway: Any, port: int) -> Application:
    """Serve the HTTP API that was made last at the root of a port, every call as if over TLS.

    The emulator knows an API by its host name, which no resolver leads to loopback. The queues'
    policies refuse calls without TLS, which the emulator heeds; a certificate would show nothing
    more.
    """

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope = {**scope, "scheme": "https"}
        if scope["type"] == "http" and scope["server"][1] == port:
            *_, ((_, _, api_id), _) = gateway._apis.all_items()
            name = f"{api_id}.execute-api.{HOST}"
            others = [one for one in scope["headers"] if one[0] != b"host"]
            scope = {**scope, "headers": [(b"host", name.encode()), *others]}
        await application(scope, receive, send)

    return serve


def main(port: int, api_port: int) -> None:
    os.environ.update(settings(port))
    emulator = importlib.import_module("ministack.app")
    gateway = importlib.import_module("ministack.services.apigateway")
    resources = importlib.import_module("ministack.services.cloudformation.provisioners")
    actions = importlib.import_module("ministack.core.iam_actions")
    ask_for_actions_of_iam(actions)
    know_the_source_of_events(actions)
    name_denials(importlib.import_module("ministack.core.iam_evaluator"))
    handlers = resources._RESOURCE_HANDLERS
    make_saved_queries(handlers)
    read_definitions_in_yaml(resources)
    make_routes_of_the_body(handlers, gateway)
    give(handlers, "AWS::CloudWatch::Alarm", alarm_on_the_first_metric)
    give(handlers, "AWS::Lambda::EventSourceMapping", concurrency_as_a_number)
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"{HOST}:{port}", f"{HOST}:{api_port}"]
    config.keep_alive_timeout = 75
    serve = importlib.import_module("hypercorn.asyncio").serve
    asyncio.run(serve(served(emulator.app, gateway, api_port), config))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
