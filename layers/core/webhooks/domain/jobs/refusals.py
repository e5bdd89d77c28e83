"""Retries of a replay's deliveries that their receiver refused for the moment.

It refused them for their rate (429), or asked for a pause (429 or 503 with `Retry-After`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.domain.drain_rate import PATIENCE
from webhooks.domain.pauses import asks
from webhooks.domain.status_codes import is_rate_limited

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt


class ReplayRefusals(NamedTuple):
    """The refusals that a step passes on to the next one.

    `steps` in a row ended with a refusal of the same delivery. `passed` are the ids of later
    deliveries that were attempted all the same and need no further attempt.
    """

    steps: int = 0
    passed: frozenset[str] = frozenset()

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> ReplayRefusals:
        """Return the refusals in a state machine's state."""
        passed = filter(None, str(state.get("passed", "")).split(","))
        return cls(int(state.get("refusals", 0)), frozenset(passed))

    def written(self) -> dict[str, float | str]:
        """Return the fields to keep in the state machine's state for the next step."""
        if not self.steps and not self.passed:
            return {}
        return {"refusals": self.steps, "passed": ",".join(sorted(self.passed))}


class Settled(NamedTuple):
    """The result of a step's attempts.

    `results` has the success of each attempt that counts. Unless the deliveries are done as a
    `whole`, `up_to` is the id of the last one before the first unfinished one, None if there is
    none before it.
    """

    results: Sequence[bool]
    refusals: ReplayRefusals
    up_to: str | None = None
    whole: bool = False


def settle(
    found: Sequence[str],
    wanted: Sequence[str],
    attempts: Sequence[Attempt | None],
    before: ReplayRefusals,
) -> Settled:
    """Return the result of attempts of the first `wanted` deliveries; None for one not made.

    `found` are the ids of all deliveries that the step went through, in order. A delivery that is
    refused in 16 steps in a row, the last ones at the slowest rate, has failed.
    """
    refused = [_is_refused(made) for made in attempts]
    if refused and refused[0] and before.steps + 1 >= PATIENCE:
        refused[0] = False
    end = refused.index(True) if any(refused) else len(attempts)
    counted = [number for number in range(len(attempts)) if not refused[number]]
    results = [_succeeded(attempts[number]) for number in counted]
    if end == len(wanted):
        later = frozenset(each for each in before.passed if not found or each > found[-1])
        return Settled(results, ReplayRefusals(passed=later), whole=True)
    first = wanted[end]
    steps = before.steps * (end == 0) + any(refused)
    passed = before.passed.union(wanted[number] for number in counted)
    done = [each for each in found if each < first]
    return Settled(
        results,
        ReplayRefusals(steps, frozenset(each for each in passed if each > first)),
        up_to=done[-1] if done else None,
    )


def _is_refused(made: Attempt | None) -> bool:
    return made is not None and (is_rate_limited(made.status_code) or asks(made))


def _succeeded(made: Attempt | None) -> bool:
    return made is not None and made.error is None
