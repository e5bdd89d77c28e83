"""The sender's CPU for a POST over TLS, compared with bare urllib3's in the same run.

Run it with `PYTHONPATH=layers/core:tests python benchmarks/sender.py`; the receiver runs in a
process of its own. The budgets are 1.6 times bare urllib3 with a new connection for each request,
and 2 times with a kept one.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING

import urllib3

from support.certificates import client_context, server_context
from support.receiver import Answer, Receiver, local_sender

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue

ROUNDS = 4
BODY = b'{"event":"email.delivered","data":{"to":"recipient@example.com"}}' * 8
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "SendComms-Webhooks/1.0",
    "Accept": "*/*",
    "X-SendComms-Signature": "sha256=" + "0" * 64,
    "webhook-signature": "v1," + "A" * 44,
}


def receive(urls: Queue[str], headers: dict[str, str]) -> None:
    """Respond with 200 until this process is ended; put its url on the queue."""
    with Receiver(Answer(headers=headers), tls=True) as receiver:
        urls.put(receiver.url)
        time.sleep(3600)


def cpu_microseconds(post: Callable[[], object], count: int) -> float:
    """Return this process's CPU time for one POST, the mean of `count`."""
    post()
    started = time.process_time()
    for _ in range(count):
        post()
    return (time.process_time() - started) / count * 1e6


def compare(name: str, count: int, headers: dict[str, str]) -> None:
    """Print both clients' best round and their ratio."""
    urls: Queue[str] = multiprocessing.Queue()
    process = multiprocessing.Process(target=receive, args=(urls, headers), daemon=True)
    process.start()
    url = urls.get()
    bare = urllib3.PoolManager(ssl_context=client_context())
    sender = local_sender()

    def post_bare() -> None:
        assert bare.request("POST", url, body=BODY, headers=HEADERS, retries=False).status == 200

    def post_guarded() -> None:
        assert sender.post(url, BODY, HEADERS).succeeded

    rounds = [
        (cpu_microseconds(post_bare, count), cpu_microseconds(post_guarded, count))
        for _ in range(ROUNDS)
    ]
    process.terminate()
    sender.close()
    ours, theirs = min(ours for _, ours in rounds), min(theirs for theirs, _ in rounds)
    print(f"{name}: {ours:.0f} us, bare urllib3 {theirs:.0f} us, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    server_context()  # before the fork, so that both processes know one authority
    multiprocessing.set_start_method("fork")
    compare("fresh TLS", 300, {"Connection": "close"})
    compare("kept alive", 1500, {})
