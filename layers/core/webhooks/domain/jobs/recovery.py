"""The state of a recovery between two of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class RecoveryState(NamedTuple):
    """The state after a step: `seconds` until the next step, and its input.

    - `probe` is the number of the next probe. It is 0 while the webhook drains; if it goes down
      again, whichever process notices, there is a wait before probe 1.
    - `after` is the id of the delivery that the last probe sent.
    - `past` is the id up to which draining found nothing waiting, if that took more than a step.
    - `settled` names the draining, by its start time, for which no function can still hold the old
      state. The state machine's clock waited for that, so it depends on no other clock.
    - `pace` is the deliveries a second to drain with, None for the maximum. It is also kept from
      probe to probe; otherwise each draining would begin too fast.
    """

    seconds: float
    probe: int = 1
    after: str | None = None
    past: str | None = None
    settled: int | None = None
    pace: float | None = None

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> RecoveryState:
        """Return the recovery's part of a state machine's state; its pause is over by then."""
        return cls(
            seconds=0,
            probe=int(state.get("probe", 1)),
            after=state.get("after"),
            past=state.get("past"),
            settled=state.get("settled"),
            pace=state.get("pace"),
        )

    def written(self) -> dict[str, float | str]:
        """Return the fields to keep in the state machine's state for the next step."""
        told = {
            "after": self.after,
            "past": self.past,
            "settled": self.settled,
            "pace": self.pace,
        }
        return {"probe": self.probe} | {
            name: value for name, value in told.items() if value is not None
        }
