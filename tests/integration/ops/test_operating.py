"""The operators' metrics, log lines and traces in pages and queries, against the real ones."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest

from local import template
from support import samples
from support.http_api import PROXY_ROUTE, ApiOnFakes
from support.service_fixture import ServiceFixture
from support.translated_template import OWN, of_type, properties, resources, text
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.observability import PowertoolsTelemetry
from webhooks.services.deliverer import LATENCY
from webhooks.services.dispatch.batches import OLDEST_EVENT_AGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES = Path(__file__).parents[3] / "layers" / "core" / "webhooks" / "services"
COUNTED_BY = {
    "dispatcher": (
        *(
            f"dispatch/{name}"
            for name in (
                *("batches", "batch", "read", "first_times", "match", "record", "unwanted"),
                *("event_limits", "fair_queueing", "rejecting", "fan_out", "leftovers"),
            )
        ),
        "host_limits",
        "retries",
        "deliverer",
        "health",
        "operational_events",
        "failures",
    ),
    "worker": (
        "retrier",
        "retries",
        "deliverer",
        "health",
        "operational_events",
        "jobs/recovery",
        "jobs/sweep",
        "jobs/sweep_events",
        "jobs/check",
        "failures",
    ),
}
"""The modules whose metrics a function publishes."""


class Source(NamedTuple):
    """A namespace of AWS's: its dimension, its resources, and its metrics."""

    dimension: str
    resource_type: str
    metrics: frozenset[str]


AWS_METRICS = {
    "AWS/SQS": Source(
        "QueueName",
        "AWS::SQS::Queue",
        frozenset(
            {
                "ApproximateAgeOfOldestMessage",
                "ApproximateAgeOfOldestMessageInQuietGroups",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesVisible",
                "NumberOfMessagesSent",
            }
        ),
    ),
    "AWS/Lambda": Source(
        "FunctionName",
        "AWS::Lambda::Function",
        frozenset({"ConcurrentExecutions", "Duration", "Errors", "Throttles"}),
    ),
    "AWS/States": Source(
        "StateMachineArn",
        "AWS::StepFunctions::StateMachine",
        frozenset({"ExecutionsFailed", "ExecutionsStarted"}),
    ),
    "AWS/Events": Source("RuleName", "AWS::Events::Rule", frozenset({"FailedInvocations"})),
    "AWS/ApiGateway": Source(
        "ApiId", "AWS::ApiGatewayV2::Api", frozenset({"4xx", "5xx", "Count", "Latency"})
    ),
}
"""The metrics of each service's guide that are used here."""

LAMBDAS_OWN_FIELDS = {"errorType", "errorMessage"}
"""Fields of the line that Lambda writes about a function that crashed."""

CONTEXT: Any = SimpleNamespace(aws_request_id="request-1", function_name="any")


class Metric(NamedTuple):
    namespace: str
    name: str
    dimension: str
    of: str


def widgets() -> list[dict[str, Any]]:
    [page] = of_type("AWS::CloudWatch::Dashboard").values()
    shown: list[dict[str, Any]] = json.loads(page["DashboardBody"]["Fn::Sub"])["widgets"]
    return shown


def shown_metrics() -> Iterator[Metric]:
    for widget in widgets():
        for metric in widget["properties"]["metrics"]:
            if len(metric) > 1:
                yield Metric(*metric[:4])


def watched_metrics() -> Iterator[Metric]:
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        parts = alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}])
        for part in (one["MetricStat"]["Metric"] for one in parts if "MetricStat" in one):
            [dimension] = part["Dimensions"]
            yield Metric(
                text(part["Namespace"]),
                part["MetricName"],
                dimension["Name"],
                text(dimension["Value"]),
            )


@cache
def told(function: str) -> frozenset[str]:
    """Return the metrics that a function's services count and measure, from their code."""
    names = set()
    for module in COUNTED_BY[function]:
        tree = ast.parse((SERVICES / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names |= _name_of_call(node.func.attr, node.args)
            if isinstance(node, ast.Dict):
                names |= {
                    str(value.value)
                    for value in node.values
                    if isinstance(value, ast.Constant) and module == "health"
                }
    return frozenset(names)


def _name_of_call(method: str, arguments: list[ast.expr]) -> set[str]:
    if method == "count" and arguments and isinstance(arguments[0], ast.Constant):
        return {str(arguments[0].value)}
    if method == "record_time" and isinstance(arguments[0], ast.Name):
        return {{"LATENCY": LATENCY, "OLDEST_EVENT_AGE": OLDEST_EVENT_AGE}[arguments[0].id]}
    return set()


@pytest.mark.parametrize("metric", sorted({*shown_metrics(), *watched_metrics()}), ids=str)
def test_a_metric_that_is_looked_at_exists(metric: Metric) -> None:
    if metric.namespace == OWN:
        assert metric.dimension == "service"
        assert metric.name in told(metric.of)
        return
    source = AWS_METRICS[metric.namespace]
    logical_id = metric.of.removeprefix("${").removesuffix("}").removesuffix(".QueueName")
    assert metric.dimension == source.dimension
    assert metric.name in source.metrics
    assert resources()[logical_id]["Type"] == source.resource_type


def test_the_dashboard_has_what_a_free_one_may_have_and_nothing_overlaps() -> None:
    assert len(list(shown_metrics())) <= 50
    places = [(one["x"], one["y"]) for one in widgets()]
    assert len(set(places)) == len(places)
    for widget in widgets():
        assert widget["x"] + widget["width"] <= 24
        assert widget["x"] % widget["width"] == widget["y"] % widget["height"] == 0


def test_every_alarms_metric_is_on_the_dashboard_or_is_of_rare_faults() -> None:
    missing = {metric.name for metric in set(watched_metrics()) - set(shown_metrics())}
    of_records = {"SecretMissing", "UnreadableRecords"}
    of_notices = {"FailedInvocations", "LostOperationalEvents", "OverdueOperationalEvents"}
    assert missing == of_records | of_notices


def test_an_expression_uses_the_metrics_beside_it() -> None:
    for widget in widgets():
        metrics = widget["properties"]["metrics"]
        ids = {metric[-1].get("id") for metric in metrics if isinstance(metric[-1], dict)}
        for expression in (metric[0]["expression"] for metric in metrics if len(metric) == 1):
            assert set(re.findall(r"\b[a-z]\w*", expression)) <= ids
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        parts = alarm.get("Metrics", [])
        ids = {part["Id"] for part in parts}
        for part in parts:
            assert set(re.findall(r"\b[a-z]\w*", part.get("Expression", ""))) <= ids


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The functions' log lines about failed and successful attempts and about rejected messages."""
    # A name of its own each time: a logger keeps the output stream of its creation.
    telemetry: Any = PowertoolsTelemetry(f"recorded-{uuid4()}")
    services = ServiceFixture(telemetry=telemetry)
    services.add(1, 2)
    blocked = Outcome(FailureReason.BLOCKED_ADDRESS)
    refused = Outcome(FailureReason.HTTP_STATUS, status_code=500, duration_ms=12)
    first = samples.webhook(1).url
    with telemetry.invocation(CONTEXT):
        services.sender.answer = lambda url, _: blocked if url == first else refused
        services.send(samples.event_text(), "not JSON")
        services.sender.answer = lambda *_: Outcome(status_code=200)
        services.send(samples.event_text(transaction_id="txn_2"))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def calls(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log lines of calls: the gateway's line, then the function's."""
    telemetry: Any = PowertoolsTelemetry(f"recorded-{uuid4()}")
    api = ApiOnFakes(telemetry=telemetry)
    written = []
    for number, (method, path) in enumerate([("GET", "/api/v1/webhooks"), ("GET", "/nowhere")]):
        answer = api.acme.call(method, path, request_id=f"call-{number}")
        written.append(gateways_line(f"call-{number}", answer.status))
        written += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return written


def gateways_line(request_id: str, status: int) -> dict[str, Any]:
    """Return the stage's access log line of a call, by the template's format."""
    [stage] = of_type("AWS::ApiGatewayV2::Stage").values()
    text = stage["AccessLogSettings"]["Format"]
    known = {
        "requestId": request_id,
        "awsEndpointRequestId": "lambda-request-id",
        "requestTimeEpoch": "1766359512",
        "routeKey": PROXY_ROUTE,
        "status": str(status),
        "responseLatency": "12",
        "responseLength": "345",
        "error.message": "-",
    }
    line: dict[str, Any] = json.loads(re.sub(r"\$context\.([\w.]+)", lambda m: known[m[1]], text))
    return line


def test_the_gateways_line_is_json_whether_or_not_there_was_an_error() -> None:
    """Without an error the gateway writes a hyphen, and does not quote it."""
    [stage] = of_type("AWS::ApiGatewayV2::Stage").values()
    text = stage["AccessLogSettings"]["Format"]
    for message in ("-", "Too Many Requests"):
        line = re.sub(r"\$context\.error\.message(String)?", quoted(message), text)
        assert json.loads(line)["error"] == message
    assert "\n" not in text


def quoted(message: str) -> Callable[[re.Match[str]], str]:
    """Return the gateway's value for an error's message, or for its messageString."""
    return lambda found: f'"{message}"' if found[1] and message != "-" else message


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line's fields with Logs Insights' names: an item of a list has a number."""
    fields: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, list):
            fields |= {f"{name}.{number}": each for number, each in enumerate(value)}
        else:
            fields[name] = value
    return fields


WORDS = re.compile(
    r"\b(fields|filter|sort|stats|limit|by|asc|desc|like|and|or|"
    r"count|max|pct|sortsLast|ispresent)\b"
)


@pytest.mark.parametrize("name", sorted(of_type("AWS::Logs::QueryDefinition")))
def test_a_query_asks_for_what_the_lines_have(
    name: str, lines: list[dict[str, Any]], calls: list[dict[str, Any]]
) -> None:
    query = of_type("AWS::Logs::QueryDefinition")[name]["QueryString"]
    written = [flat(line) for line in (*lines, *calls)]
    for field, value in re.findall(r'(\w+) = "(\w+)"', query):
        assert any(line.get(field) == value for line in written), (field, value)
    aliases = set(re.findall(r"\bas (\w+)", query))
    bare = WORDS.sub(" ", re.sub(r'"[^"]*"', " ", query))
    asked = set(re.findall(r"(?<![\w@.])[A-Za-z_][\w.]*", bare)) - aliases - {"as"}
    known = {field for line in written for field in line} | LAMBDAS_OWN_FIELDS
    assert asked <= known
    assert asked or "{{" in query


def test_a_query_has_a_parameter_for_each_place_that_is_filled_in() -> None:
    queries = of_type("AWS::Logs::QueryDefinition").values()
    asking = [query for query in queries if "Parameters" in query]
    assert len(asking) == 2
    for query in queries:
        declared = {one["Name"] for one in query.get("Parameters", ())}
        assert set(re.findall(r"\{\{(.*?)\}\}", query["QueryString"])) == declared
        assert "PUT-" not in query["QueryString"]


def test_a_query_reads_log_groups_of_the_stack() -> None:
    groups = set(of_type("AWS::Logs::LogGroup"))
    read = set()
    for query in of_type("AWS::Logs::QueryDefinition").values():
        read |= {group["Ref"] for group in query["LogGroupNames"]}
    assert read == groups


def test_one_events_id_leads_from_its_message_to_its_attempts(lines: list[dict[str, Any]]) -> None:
    failed = [line for line in lines if line.get("message") == "attempt_failed"]
    [counted] = [line for line in lines if "_aws" in line]
    assert {line["event_id"] for line in failed} < set(counted["event_ids"])
    assert {line["request_id"] for line in failed} == {counted["request_id"]}
    assert counted["message_ids"] == ["m0", "m1", "m0"]
    assert all(line["delivery_id"] for line in failed)


def test_the_id_that_a_caller_is_told_finds_the_gateways_line_and_the_functions(
    calls: list[dict[str, Any]],
) -> None:
    for request_id, route in (("call-0", "GET /api/v1/webhooks"), ("call-1", None)):
        gateways, functions = (line for line in calls if request_id in json.dumps(line))
        assert gateways["request_id"] == functions["request_id"] == request_id
        assert gateways["function_request_id"] == functions["function_request_id"]
        assert (gateways["gateway_route"], functions.get("route")) == (PROXY_ROUTE, route)
        assert int(gateways["status"]) == functions["status"]
        assert "gateway_route" not in functions
        assert "route" not in gateways
    everything = of_type("AWS::Logs::QueryDefinition")["LogLinesByIdQuery"]
    assert {"HttpApiLogs", "ApiLogs"} < {group["Ref"] for group in everything["LogGroupNames"]}


def test_calls_are_counted_once_by_the_lines_of_both() -> None:
    """Two `stats` are the maximum; the lines are joined by the field that both have."""
    query = of_type("AWS::Logs::QueryDefinition")["CallsByRouteQuery"]
    steps = query["QueryString"].split("\n| ")
    first, second = (step for step in steps if step.startswith("stats "))
    assert first.split()[-2:] == ["by", "request_id"]
    made = set(re.findall(r"\bas (\w+)", first))
    assert set(re.findall(r"\w+", second.partition("\n  by ")[2])) < made
    assert [group["Ref"] for group in query["LogGroupNames"]] == ["HttpApiLogs", "ApiLogs"]


def test_nothing_is_traced_unless_that_was_asked_for() -> None:
    loaded = template.load()
    assert loaded["Parameters"]["Tracing"]["Default"] == "false"
    for function in of_type("AWS::Lambda::Function").values():
        assert function["TracingConfig"] == {
            "Mode": {"Fn::If": ["HasTracing", "Active", "PassThrough"]}
        }
    for machine in of_type("AWS::StepFunctions::StateMachine").values():
        assert machine["TracingConfiguration"] == {
            "Enabled": {"Fn::If": ["HasTracing", True, False]}
        }
    allowing = {name for name, resource in resources().items() if "xray:" in json.dumps(resource)}
    assert allowing == set(of_type("AWS::IAM::Role"))
    for name in allowing:
        [document] = (policy["PolicyDocument"] for policy in properties(name)["Policies"])
        traced = [one["Fn::If"] for one in document["Statement"] if "Fn::If" in one]
        assert [(one[0], one[2]) for one in traced] == [("HasTracing", {"Ref": "AWS::NoValue"})]
        assert "xray:" in json.dumps(traced)


def test_no_function_imports_a_library_of_x_ray() -> None:
    sources = [*SERVICES.parent.rglob("*.py"), *(SERVICES.parents[3] / "functions").rglob("*.py")]
    assert len(sources) > 50
    importing = re.compile(r"^\s*(from|import) .*(xray|[Tt]racer)", re.MULTILINE)
    assert [path for path in sources if importing.search(path.read_text(encoding="utf-8"))] == []
