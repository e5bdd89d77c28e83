"""`webhooks listen`: polls for deliveries, prints and forwards them, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from cli.client import ApiClientError
from cli.listening import Arrived, Forwarded, Forwarder, Listener
from cli.screen import cell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from cli.client import ApiClient
    from cli.screen import Screen

_LONGEST_PAUSE_SECONDS = 60.0


def listen(
    api: ApiClient,
    screen: Screen,
    notes: TextIO,
    *,
    webhook_id: str | None,
    url: str | None,
    secret: str | None,
    headers: Mapping[str, str],
    interval_seconds: float,
) -> None:
    """Show deliveries until Ctrl-C or SIGTERM. `notes` receives all other messages.

    Raises ApiClientError if the API refuses to let it begin, or fails for good later.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    forwarder = Forwarder(url, secret, headers) if url else None
    try:
        listener = Listener(api, webhook_id)
        _note(notes, _beginning(api, webhook_id, url))
        if url and secret is None:
            _note(notes, "Forwarding without signatures: to sign, give the secret (--secret).")
        _follow(listener, screen, notes, forwarder, interval_seconds)
    except KeyboardInterrupt:
        return
    finally:
        if forwarder is not None:
            forwarder.close()


def _follow(
    listener: Listener,
    screen: Screen,
    notes: TextIO,
    forwarder: Forwarder | None,
    interval_seconds: float,
) -> None:
    troubled = 0
    while True:
        pause = interval_seconds
        try:
            for arrived in listener.arrivals():
                _show(screen, arrived, forwarder.forward(arrived) if forwarder else None)
            troubled = 0
        except ApiClientError as error:
            if not error.passing:
                raise
            if not troubled:
                _note(notes, f"{error} Trying again; no delivery is missed.")
            troubled += 1
            backoff = interval_seconds * 2 ** min(troubled, 5)
            pause = min(max(backoff, error.retry_after_seconds), _LONGEST_PAUSE_SECONDS)
        time.sleep(pause)


def _show(screen: Screen, arrived: Arrived, forwarded: Forwarded | None) -> None:
    webhook_id, delivery = arrived
    if screen.as_json:
        shown = {"webhook_id": webhook_id, "delivery": delivery}
        screen.json_line(shown | ({"forwarded": forwarded._asdict()} if forwarded else {}))
        return
    parts = [
        time.strftime("%H:%M:%S"),
        f"{cell(delivery['event']):<16}",
        f"delivery {delivery['id']}",
        f"webhook {webhook_id}",
    ]
    if forwarded is None:
        parts.append(screen.paint(cell(delivery["status"])))
    else:
        outcome = f"-> {forwarded.status or forwarded.problem}"
        parts.append(screen.outcome(outcome, good=forwarded.succeeded))
        parts.append(f"{forwarded.duration_ms} ms")
    screen.line("  ".join(parts))


def _beginning(api: ApiClient, webhook_id: str | None, url: str | None) -> str:
    what = f"webhook {webhook_id}" if webhook_id else "all webhooks"
    where = f", forwarding to {url}" if url else ""
    return f"Listening to {what} at {api.url}{where}. Ctrl-C ends it."


def _note(notes: TextIO, text: str) -> None:
    notes.write(f"{cell(text)}\n")
    notes.flush()
