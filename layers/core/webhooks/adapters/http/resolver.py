"""Name look-ups for the early check at registration; the sender looks names up at every attempt."""

from __future__ import annotations

import queue
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK_UP_SECONDS = 2.0


def resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host name, IPv4 and IPv6; none if there are none in 2 seconds.

    Never raises: a name that cannot be looked up now may be looked up at the first attempt.
    """
    box: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            # As bytes: a text would go through the IDNA codec, and the url rule requires ASCII.
            answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        box.put([str(address[0]) for *_, address in answers])

    # From another thread, since a look-up cannot be interrupted.
    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        return box.get(timeout=LOOK_UP_SECONDS)
    except queue.Empty:
        return []
