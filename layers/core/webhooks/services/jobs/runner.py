"""The steps of all kinds of jobs, as the job state machine asks for them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.jobs import Action
    from webhooks.ports import JobKey


class NextStep(NamedTuple):
    """When the next step is due, in seconds, and the job's own part of the state for it."""

    seconds: float
    state: Mapping[str, float | str] = MappingProxyType({})


class Job(Protocol):
    """One kind of job. `key_type` is the named tuple of the ids that its states have."""

    @property
    def key_type(self) -> Callable[..., JobKey]:
        """Makes a job's key of its ids, by their names."""

    def step(
        self,
        key: Any,
        remaining_seconds: Callable[[], float],
        state: Mapping[str, Any],
        /,
    ) -> NextStep | None:
        """Make a job's next step; None where it has ended.

        Of `state` each kind reads what its `NextStep` had, and the number of its run. Raises
        UnavailableError where our own side failed or the invocation's time is too short; the same
        step is made again then.
        """

    def abandon(self, key: Any, state: Mapping[str, Any], /) -> None:
        """Record that a job is given up, through a fault of ours.

        Not where another execution than the state's makes its steps by now.
        """


class JobRunner:
    """Finds the kind of a state's job by the state's action, and makes the step."""

    def __init__(self, kinds: Mapping[Action, Callable[[], Job]]) -> None:
        """Know these kinds; each is built when it is first needed."""
        self._kinds = kinds

    def knows(self, action: object) -> bool:
        """Tell whether an action is the one of a kind of job."""
        return action in self._kinds

    def key(self, state: Mapping[str, Any]) -> JobKey:
        """Return the ids of the job that a state is about; KeyError where one is missing."""
        key_type: Any = self._kinds[state["action"]]().key_type
        key: JobKey = key_type(**{name: state[name] for name in key_type._fields})
        return key

    def step(
        self, key: JobKey, state: Mapping[str, Any], remaining_seconds: Callable[[], float]
    ) -> NextStep | None:
        """Make a job's next step; None where it has ended. Raises UnavailableError."""
        return self._kinds[key.action]().step(key, remaining_seconds, state)

    def abandon(self, key: JobKey, state: Mapping[str, Any]) -> None:
        """Record that a job is given up, through a fault of ours."""
        self._kinds[key.action]().abandon(key, state)
