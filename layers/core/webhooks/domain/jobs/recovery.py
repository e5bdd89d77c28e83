"""The state of a recovery between two of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class RecoveryState(NamedTuple):
    """What follows a step: when the next one is due, which probe it is, and after which delivery.

    While it drains that is probe 0, so that a webhook which goes down again, whoever found out, is
    left alone before its first. `after` is the id of the delivery that the last probe was made
    with. `past` is the id up to which draining found nothing that waits, where that took more than
    a step. `settled` says of which draining, by the time since when, no function can hold the old
    state any more: it was waited for by the state machine's clock, so that nobody else's need be
    right. `pace` is the deliveries a second to drain with, None for as many as are allowed: also
    kept from probe to probe, or each draining would begin with too much.
    """

    seconds: float
    probe: int = 1
    after: str | None = None
    past: str | None = None
    settled: int | None = None
    pace: float | None = None

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> RecoveryState:
        """Return what a state machine's state holds of it; the pause is over by then."""
        return cls(
            seconds=0,
            probe=int(state.get("probe", 1)),
            after=state.get("after"),
            past=state.get("past"),
            settled=state.get("settled"),
            pace=state.get("pace"),
        )

    def written(self) -> dict[str, float | str]:
        """Return what the state machine's state is to hold of it for the next step."""
        told = {
            "after": self.after,
            "past": self.past,
            "settled": self.settled,
            "pace": self.pace,
        }
        return {"probe": self.probe} | {
            name: value for name, value in told.items() if value is not None
        }
