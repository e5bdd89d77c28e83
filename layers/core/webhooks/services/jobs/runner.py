"""The steps of all kinds of jobs, as the job state machine asks for them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.jobs import Action
    from webhooks.ports import JobKey


class NextStep(NamedTuple):
    """The wait until a job's next step, in seconds, and the job's own state for it."""

    seconds: float
    state: Mapping[str, float | str] = MappingProxyType({})


class Job(Protocol):
    """One kind of job. `key_type` is the named tuple of its ids."""

    @property
    def key_type(self) -> Callable[..., JobKey]:
        """Builds a job's key from its ids, by their names."""

    def step(
        self,
        key: Any,
        remaining_seconds: Callable[[], float],
        state: Mapping[str, Any],
        /,
    ) -> NextStep | None:
        """Make a job's next step; None if the job has ended.

        `state` has the values of the previous `NextStep` and the number of the job's run. Raises
        UnavailableError if one of our own services failed or the invocation's time is too short;
        the state machine then repeats the step.
        """

    def abandon(self, key: Any, state: Mapping[str, Any], /) -> None:
        """Record that a job was given up, through a fault of ours.

        Without effect if another execution than the state's makes the job's steps by now.
        """


class JobRunner:
    """Makes a job's step; the state's action selects the kind, which is built on first use."""

    def __init__(self, kinds: Mapping[Action, Callable[[], Job]]) -> None:
        self._kinds = kinds

    def knows(self, action: object) -> bool:
        """Return whether an action belongs to a kind of job."""
        return action in self._kinds

    def key(self, state: Mapping[str, Any]) -> JobKey:
        """Return the ids of a state's job; KeyError if one is missing."""
        key_type: Any = self._kinds[state["action"]]().key_type
        key: JobKey = key_type(**{name: state[name] for name in key_type._fields})
        return key

    def step(
        self, key: JobKey, state: Mapping[str, Any], remaining_seconds: Callable[[], float]
    ) -> NextStep | None:
        """Make a job's next step; None if it has ended. Raises UnavailableError."""
        return self._kinds[key.action]().step(key, remaining_seconds, state)

    def abandon(self, key: JobKey, state: Mapping[str, Any]) -> None:
        """Record that a job was given up, through a fault of ours."""
        self._kinds[key.action]().abandon(key, state)
