"""Closes a stack before its executions are stopped, and opens it again.

The parts that start executions are the event source mapping of the dispatcher, the sweep's
schedule, and the functions; a reserved concurrency of zero keeps a function from running.
CloudFormation repairs none of them at the next deployment, so `closed` finds them before it. A
rollback closes the schedules alone. The rule of Amazon SES stays enabled: it only fills the events
queue, and its events are processed once the stack is open again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.deployed import unless_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ops.deployed import Deployed
    from ops.executions import Clock

API_FUNCTION = "ApiFunction"

_LOOK_SECONDS = 5.0
_LOOKS = 120
_CHANGING = frozenset({"ResourceConflictException", "ResourceInUseException"})


class NotSettledError(Exception):
    """An event source mapping did not reach the wanted state; the message names it."""


class Openings:
    """The parts of a stack that start work. Each step can be repeated.

    `functions` and `events` are clients of Lambda and EventBridge.
    """

    def __init__(
        self,
        functions: Any,
        events: Any,
        deployed: Deployed,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._lambda = functions
        self._events = events
        self._clock = clock
        self._tell = tell
        self._functions = deployed.of_type("AWS::Lambda::Function")
        self._mappings = deployed.of_type("AWS::Lambda::EventSourceMapping")
        self._rules = deployed.of_type("AWS::Events::Rule")

    def close(self) -> None:
        """Stop events, sweeps and calls to the API from starting work. Running work continues.

        Returns when the mapping is disabled. Raises NotSettledError if that takes over ten minutes.
        """
        self.close_schedules()
        if API_FUNCTION in self._functions:
            self._throttle(self._functions[API_FUNCTION])
        for mapping in self._mappings.values():
            self._tell(f"Disabling the event source mapping {mapping}")
            self._set(mapping, enabled=False)

    def close_schedules(self) -> None:
        """Stop sweeps from starting."""
        for rule, _ in self._schedules():
            self._tell(f"Disabling the schedule {rule}")
            with unless_gone():
                self._events.disable_rule(Name=rule)

    def close_functions(self) -> None:
        """Stop all functions from starting. A running invocation continues to its end."""
        for function in self._functions.values():
            self._throttle(function)

    def open(self) -> None:
        """Start everything again, as the template has it."""
        for function in self._functions.values():
            if self._reserved(function) == 0:
                self._tell(f"Removing the reserved concurrency of zero of {function}")
                self._lambda.delete_function_concurrency(FunctionName=function)
        for mapping in self._mappings.values():
            self._tell(f"Enabling the event source mapping {mapping}")
            self._set(mapping, enabled=True)
        self.open_schedules()

    def open_schedules(self) -> None:
        """Start sweeps again."""
        for rule, state in self._schedules():
            if state == "DISABLED":
                self._tell(f"Enabling the schedule {rule}")
                with unless_gone():
                    self._events.enable_rule(Name=rule)

    def closed(self) -> list[str]:
        """Return the closed parts, a few words each."""
        return [
            *(f"the schedule {rule}" for rule, state in self._schedules() if state == "DISABLED"),
            *(
                f"the event source mapping {one}"
                for one in self._mappings.values()
                if self._is_disabled(one)
            ),
            *(f"the function {one}" for one in self._functions.values() if self._is_throttled(one)),
        ]

    def _is_disabled(self, mapping: str) -> bool:
        with unless_gone():
            state = self._lambda.get_event_source_mapping(UUID=mapping)["State"]
            return state in {"Disabling", "Disabled"}
        return False

    def _is_throttled(self, function: str) -> bool:
        with unless_gone():
            return self._reserved(function) == 0
        return False

    def _throttle(self, function: str) -> None:
        with unless_gone():
            if self._reserved(function) != 0:
                self._tell(f"Reserving concurrency of zero for {function}")
                self._lambda.put_function_concurrency(
                    FunctionName=function, ReservedConcurrentExecutions=0
                )

    def _reserved(self, function: str) -> int | None:
        answer = self._lambda.get_function_concurrency(FunctionName=function)
        reserved: int | None = answer.get("ReservedConcurrentExecutions")
        return reserved

    def _schedules(self) -> Iterator[tuple[str, str]]:
        """Yield the names and states of the rules with a schedule: the sweep's."""
        for rule in self._rules.values():
            with unless_gone():
                described = self._events.describe_rule(Name=rule)
                if described.get("ScheduleExpression"):
                    yield rule, described["State"]

    def _set(self, mapping: str, *, enabled: bool) -> None:
        wanted = "Enabled" if enabled else "Disabled"
        with unless_gone():
            for _ in range(_LOOKS):
                state = self._lambda.get_event_source_mapping(UUID=mapping)["State"]
                if state in {wanted, "Deleting"}:
                    return
                if state in {"Enabled", "Disabled"}:
                    self._update(mapping, enabled=enabled)
                self._clock.sleep(_LOOK_SECONDS)
            msg = f"the event source mapping {mapping} did not become {wanted}"
            raise NotSettledError(msg)

    def _update(self, mapping: str, *, enabled: bool) -> None:
        try:
            self._lambda.update_event_source_mapping(UUID=mapping, Enabled=enabled)
        except ClientError as error:
            # Another change is under way; the next check tries again.
            if error.response["Error"]["Code"] not in _CHANGING:
                raise
