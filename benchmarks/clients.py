"""CPU and rate of a POST: the dispatcher and its sender compared with the bare clients below."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3

from benchmarks.dispatching import Function, prepare_environment, trusting
from benchmarks.processes import serving
from benchmarks.servers import serve_aws
from support import samples
from support.receiver import local_sender
from webhooks.adapters import aws
from webhooks.adapters.dynamodb import delivery_items, item_keys
from webhooks.domain import signing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from benchmarks.dispatching import DispatchBench

BODY = b'{"event":"email.delivered","data":{"to":"recipient@example.com"}}'.ljust(1024)
HEADERS = signing.delivery_headers(
    samples.delivery(body=BODY),
    attempt_number=1,
    unix_seconds=samples.NOW_MS // 1000,
    secrets=[samples.SECRET],
    sendcomms_secret=samples.SECRET,
)
"""A delivery's headers: every client sends the same request."""

POSTS = {"fresh": 150, "kept": 500}
ROUNDS = 3
FLOOR = "urllib3 and botocore"
"""The cost if the dispatcher's own work were free: a bare POST, and the calls of AWS."""

_BATCH = 10
_C_SECONDS = 2


def measure(bench: DispatchBench, kind: str) -> dict[str, dict[str, float]]:
    """Return each client's CPU in milliseconds and POSTs per second, at the same receiver.

    The clients take turns, so that other work on the machine disturbs them equally. Each result is
    from the round with the least CPU.
    """
    url, posts = bench.urls[kind], POSTS[kind]
    with ExitStack() as stack:
        endpoints = {
            webhooks: stack.enter_context(serving(serve_aws, [url] * webhooks)).first
            for webhooks in (1, 10)
        }
        loops = stack.enter_context(serving(serve_clients, bench.authority, url, endpoints[1]))
        functions = {
            f"dispatcher, {webhooks} webhook{'s' * (webhooks > 1)}": stack.enter_context(
                serving(serve_dispatcher, endpoint, bench.authority, webhooks)
            )
            for webhooks, endpoint in endpoints.items()
        }
        contenders = {**dict.fromkeys(loops.first, loops), **functions}
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, contender in contenders.items():
                rounds[name].append(contender.ask([name, posts]))
    measured: dict[str, dict[str, float]] = {}
    for name, taken in rounds.items():
        cpu, wall = min(taken)
        measured[name] = {"cpu_ms": cpu * 1000, "a_second": 1 / wall}
    measured |= {name: {"a_second": rate} for name, rate in _in_c(url, posts, kind == "kept")}
    bare = measured["urllib3"]
    for values in measured.values():
        values["rate_ratio"] = values["a_second"] / bare["a_second"]
        if "cpu_ms" in values:
            values["cpu_ratio"] = values["cpu_ms"] / bare["cpu_ms"]
    return measured


def serve_clients(
    connection: Connection, authority: str, url: str, endpoint: str | None = None
) -> None:
    """Make POSTs with the requested client; send the clients' names, then each client's cost."""
    posts = {name: make(authority, url) for name, make in CLIENTS.items()}
    if endpoint is not None:
        posts[FLOOR] = _floor(posts["urllib3"], endpoint)
    for post in posts.values():
        for _ in range(2 * _BATCH):
            post()
    connection.send(list(posts))
    while (asked := connection.recv()) != "stop":
        name, number = asked
        post = posts[name]
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(number):
            post()
        used = time.process_time() - cpu, time.perf_counter() - wall
        connection.send(tuple(one / number for one in used))


def serve_dispatcher(connection: Connection, endpoint: str, authority: str, webhooks: int) -> None:
    """Handle batches of ten messages, warm; send the cost of one delivery."""
    function = Function(endpoint, authority)
    for _ in range(3):
        function.invoke(_BATCH)
    connection.send("ready")
    while (asked := connection.recv()) != "stop":
        _, posts = asked
        used = [function.invoke(_BATCH) for _ in range(max(posts // (_BATCH * webhooks), 3))]
        number = 1000 * len(used) * _BATCH * webhooks
        cpu, wall = sum(one.cpu_ms for one in used), sum(one.wall_ms for one in used)
        connection.send((cpu / number, wall / number))


def _floor(post: Callable[[], object], endpoint: str) -> Callable[[], object]:
    """Return a bare POST that every tenth time makes the three calls of a batch of ten."""
    prepare_environment()
    client = aws.client("dynamodb", endpoint)
    deliveries = [samples.delivery(number, body=BODY) for number in range(1, _BATCH + 1)]
    puts = [{"PutRequest": {"Item": delivery_items.delivery_item(one, 0)}} for one in deliveries]
    keys = [item_keys.delivery_key(one.key) for one in deliveries]
    made = count(1)

    def post_and_call() -> None:
        post()
        if next(made) % _BATCH == 0:
            client.query(
                TableName="WebhooksTable",
                KeyConditionExpression="account_id = :account_id",
                ExpressionAttributeValues={":account_id": {"S": "acc_1"}},
            )
            client.batch_get_item(RequestItems={"DeliveriesTable": {"Keys": keys}})
            client.batch_write_item(RequestItems={"DeliveriesTable": puts})

    return post_and_call


def _http_client(authority: str, url: str) -> Callable[[], object]:
    context, target = trusting(authority), urlsplit(url)
    connection = http.client.HTTPSConnection(target.hostname or "", target.port, context=context)

    def post() -> None:
        connection.request("POST", target.path, BODY, HEADERS)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200

    return post


def _urllib3(authority: str, url: str) -> Callable[[], object]:
    pool = urllib3.PoolManager(ssl_context=trusting(authority))

    def post() -> None:
        assert pool.request("POST", url, body=BODY, headers=HEADERS, retries=False).status == 200

    return post


def _requests(authority: str, url: str) -> Callable[[], object]:
    session = requests.Session()
    session.trust_env = False
    bundle = Path(tempfile.mkdtemp()) / "authority.pem"
    bundle.write_text(authority, encoding="ascii")
    session.verify = str(bundle)

    def post() -> None:
        assert session.post(url, data=BODY, headers=HEADERS, timeout=5).status_code == 200

    return post


def _sender(authority: str, url: str) -> Callable[[], object]:
    sender = local_sender(ssl_context=trusting(authority))

    def post() -> None:
        assert sender.post(url, BODY, HEADERS).succeeded

    return post


CLIENTS: dict[str, Callable[[str, str], Callable[[], Any]]] = {
    "http.client": _http_client,
    "urllib3": _urllib3,
    "requests": _requests,
    "sender": _sender,
}


def _in_c(url: str, posts: int, keep: bool) -> Iterator[tuple[str, float]]:
    """Yield the POSTs per second of the installed load generators, one at a time as above."""
    with tempfile.TemporaryDirectory() as directory:
        body, script = Path(directory) / "body", Path(directory) / "post.lua"
        body.write_bytes(BODY)
        headers = "".join(f"wrk.headers[{name!r}] = {text!r}\n" for name, text in HEADERS.items())
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = io.open({str(body)!r}):read('*a')\n{headers}",
            encoding="utf-8",
        )
        ab = ["ab", "-q", "-n", str(posts), "-c", "1", "-p", str(body), "-T", "application/json"]
        wrk = ["wrk", "-t", "1", "-c", "1", "-d", f"{_C_SECONDS}s", "-s", str(script)]
        commands = {"ab": [*ab, *(["-k"] if keep else [])], "wrk": wrk}
        for name, command in commands.items():
            if shutil.which(name):
                yield name, _rate([*command, url])


def _rate(command: list[str]) -> float:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests(?: per second|/sec):\s+([0-9.]+)", output)
    assert found, output
    return float(found[1])
