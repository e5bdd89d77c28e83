"""Delays of receivers: among others that hang, in wide events, and until the first byte."""

from __future__ import annotations

import time
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from benchmarks.dispatching import prepare_environment
from benchmarks.processes import in_process, serving
from benchmarks.servers import serve_aws
from support import samples
from webhooks.adapters import aws
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.dispatching import DispatchBench, Used

WEBHOOKS = 60
"""Webhooks of an event: nearly as many deliveries in flight as the dispatcher has threads."""

BAD_SHARES = (0, 10, 30, 50)
FAN_OUTS = (1, 10, 100)
"""A thousand webhooks are divided among several dispatchers: see `fleet`."""

EVENTS = 2
LATENCIES = 200


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


def isolation(bench: DispatchBench, bad_percent: int) -> dict[str, float]:
    """Return the delay of an event's healthy receivers, among others that hang or drip."""
    bad = WEBHOOKS * bad_percent // 100
    urls = [bench.urls["hanging" if number % 2 else "dripping"] for number in range(bad)]
    # Mixed, so that the healthy ones are not always the first.
    healthy = [bench.urls["fresh"]] * (WEBHOOKS - bad)
    mixed = [urls.pop() if urls and place % 2 else healthy.pop() for place in range(2 * bad)]
    return percentiles(_delays(bench, [*mixed, *healthy], EVENTS))


def fan_out(bench: DispatchBench, webhooks: int) -> dict[str, float]:
    """Return the delay of an event's last receiver, each on a connection of its own."""
    bench.arrivals()
    used = bench.dispatch([bench.urls["fresh"]] * webhooks, 1, 1)
    arrived = [at for _, at in bench.arrivals()["fresh"] if at >= used[0].entered_at]
    return {
        "last_ms": (max(arrived) - used[0].entered_at) * 1000,
        "missing": webhooks - len(arrived),
        "cpu_ms": used[0].cpu_ms,
    }


def first_byte(bench: DispatchBench, kind: str) -> dict[str, float]:
    """Return the time from a warm dispatcher's call until its only receiver has the whole request.

    It is slightly longer than the time to the first byte: it includes the transfer and the reading.
    """
    bench.arrivals()
    used = bench.dispatch([bench.urls[kind]], 1, LATENCIES)
    arrived = sorted(at for _, at in bench.arrivals()[kind])[-len(used) :]
    taken = zip(used, arrived, strict=True)
    return percentiles([(at - one.entered_at) * 1000 for one, at in taken])


def _calls_before(bench: DispatchBench) -> list[float]:
    with serving(serve_aws, [bench.urls["kept"]]) as served:
        return in_process(calls_before, served.first)


def calls_before(endpoint: str) -> list[float]:
    """Return the duration of the two calls of AWS before a first byte, with botocore alone."""
    prepare_environment()
    client = aws.client("dynamodb", endpoint)
    keys = [item_keys.delivery_key(samples.delivery().key)]
    taken = []
    for _ in range(LATENCIES):
        began = time.perf_counter()
        client.query(
            TableName="WebhooksTable",
            KeyConditionExpression="account_id = :account_id",
            ExpressionAttributeValues={":account_id": {"S": "acc_1"}},
        )
        client.batch_get_item(RequestItems={"DeliveriesTable": {"Keys": keys}})
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def _delays(bench: DispatchBench, urls: list[str], events: int) -> list[float]:
    bench.arrivals()
    used = bench.dispatch(urls, 1, events)
    arrived = [at for _, at in bench.arrivals()["fresh"]]
    return [_since(used, at) for at in arrived if at >= used[0].entered_at]


def _since(used: Sequence[Used], at: float) -> float:
    """Return the milliseconds from the beginning of a request's invocation to the request."""
    return (at - max(one.entered_at for one in used if one.entered_at <= at)) * 1000


def measure(bench: DispatchBench) -> dict[str, Any]:
    """Return all delays, by the varied quantity."""
    return {
        "isolation": {str(share): isolation(bench, share) for share in BAD_SHARES},
        "fan_out": {str(webhooks): fan_out(bench, webhooks) for webhooks in FAN_OUTS},
        "first_byte": {
            **{kind: first_byte(bench, kind) for kind in ("kept", "fresh")},
            "the calls before it": percentiles(_calls_before(bench)),
        },
    }
