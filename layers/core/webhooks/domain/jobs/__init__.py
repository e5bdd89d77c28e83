"""Jobs: long work, done step by step, for an owner or for a webhook that was down."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """The `action` in a state machine's state or a schedule's event: the kind of work of a step.

    Executions that are open during an update have these very strings in their states.
    """

    RECOVER = "recover"
    REPLAY = "replay"
    ERASE = "erase"
    CHECK = "check"
    ABANDON = "abandon"
    """The state machine gave up: the job's record is marked as failed."""
    RESEND = "resend"
    """One attempt of a delivery outside its schedule."""
    ATTEMPT = "attempt"
    """A scheduled attempt. Executions older than this action have a state without one."""
    SHORT_ATTEMPT = "short_attempt"
    """A scheduled attempt after a short delay, from an Express state machine."""
    NOTE_DEAD_LETTER = "note_dead_letter"
    """The dead-letter queue has a delivery's message: the delivery's record is marked."""
    SWEEP = "sweep"
