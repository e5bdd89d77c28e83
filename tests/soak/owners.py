"""The owners of a soak, who disable their webhooks and enable them again."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from support.stack import call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PAUSE_SECONDS = 1.0
_MAX_TIMES = 50
"""Below the limit of an owner's enabling calls in an hour."""


class Owners:
    """Owners who toggle their webhooks in a thread, until they are stopped."""

    def __init__(self, api_url: str, seconds: float) -> None:
        """Wait `seconds` between two changes of each webhook."""
        self._api_url = api_url
        self._seconds = seconds
        self._paths: list[tuple[str, Mapping[str, str]]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._toggle, daemon=True)
        self.times = 0

    def add(self, webhook_id: str, headers: Mapping[str, str]) -> None:
        """Toggle this webhook too; `headers` have its account's key."""
        self._paths.append((f"/api/v1/webhooks/{webhook_id}", headers))

    def start(self) -> None:
        """Begin to toggle."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> Sequence[str]:
        """Stop, with every webhook enabled; returns the paths of the rest."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        deadline = time.monotonic() + timeout_seconds
        left = list(self._paths)
        while left:
            left = [one for one in left if not self._change(*one, active=True)]
            if left and time.monotonic() > deadline:
                break
            if left:
                time.sleep(_PAUSE_SECONDS)
        return [path for path, _ in left]

    def _toggle(self) -> None:
        active = True
        while self.times < _MAX_TIMES and not self._stopping.wait(self._seconds):
            active = not active
            self.times += active
            for path, headers in self._paths:
                # A call that an outage refuses is repeated next time.
                self._change(path, headers, active=active)

    def _change(self, path: str, headers: Mapping[str, str], *, active: bool) -> bool:
        body = json.dumps({"active": active})
        try:
            answer = call(self._api_url, "PATCH", path, headers=headers, body=body)
        except OSError:
            return False
        return answer.status == 200
