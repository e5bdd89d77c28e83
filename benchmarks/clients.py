"""CPU and rate of a POST: the dispatcher and its sender against the bare clients beneath them."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3

from benchmarks.dispatching import trusting
from support.receiver import local_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.dispatching import Stand

BODY = b'{"event":"email.delivered","data":{"to":"recipient@example.com"}}'.ljust(1024)
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "SendComms-Webhooks/1.0",
    "X-SendComms-Signature": "sha256=" + "0" * 64,
    "webhook-signature": "v1," + "A" * 44,
}
POSTS = {"fresh": 150, "kept": 500}
ROUNDS = 3


def measure(stand: Stand, kind: str) -> dict[str, dict[str, float]]:
    """Return each client's CPU in milliseconds and posts a second, at the same receiver."""
    url, posts = stand.urls[kind], POSTS[kind]
    measured: dict[str, dict[str, float]] = stand.loop(best_of_rounds, url, posts)
    used = [
        stand.dispatch([url], 10, posts // 10),
        stand.dispatch([url] * 10, 10, posts // 50),
    ]
    for name, invocations, deliveries in (
        ("dispatcher, 1 webhook", used[0], 10),
        ("dispatcher, 10 webhooks", used[1], 100),
    ):
        cpu = sum(one.cpu_ms for one in invocations) / len(invocations) / deliveries
        wall = sum(one.wall_ms for one in invocations) / len(invocations) / deliveries
        measured[name] = {"cpu_ms": cpu, "a_second": 1000 / wall}
    if shutil.which("ab"):
        measured["ab"] = {"a_second": _ab(url, posts, keep=kind == "kept")}
    bare = measured["urllib3"]
    for values in measured.values():
        values["rate_ratio"] = values["a_second"] / bare["a_second"]
        if "cpu_ms" in values:
            values["cpu_ratio"] = values["cpu_ms"] / bare["cpu_ms"]
    return measured


def best_of_rounds(authority: str, url: str, posts: int) -> dict[str, dict[str, float]]:
    """Return each client's CPU and rate in the round in which it took the least CPU.

    The clients take turns, so that what else runs on the machine disturbs them alike.
    """
    clients = {name: make(authority, url) for name, make in CLIENTS.items()}
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    for number in range(ROUNDS + 1):
        for name, post in clients.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(posts if number else 5):  # the first round warms up
                post()
            if number:
                rounds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: {"cpu_ms": cpu / posts * 1000, "a_second": posts / wall}
        for name, (cpu, wall) in ((name, min(taken)) for name, taken in rounds.items())
    }


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


def _ab(url: str, posts: int, *, keep: bool) -> float:
    """Return the posts a second of Apache's load generator, one at a time as the loops are."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(BODY)
        body.flush()
        command = ["ab", "-n", str(posts), "-c", "1", "-p", body.name, "-T", "application/json"]
        output = subprocess.run(
            [*command, *(["-k"] if keep else []), url], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"Requests per second:\s+([0-9.]+)", output)
    assert found, output
    return float(found[1])
