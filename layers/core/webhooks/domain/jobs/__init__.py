"""Jobs: work that takes long, done step by step for an owner or for a webhook that was down."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """The `action` of a state machine's state or of a schedule's event: which work a step is of.

    Executions that are open at an update have these very strings in their states.
    """

    RECOVER = "recover"
    REPLAY = "replay"
    ERASE = "erase"
    CHECK = "check"
    ABANDON = "abandon"
    """Given up by the state machine: a job's record is to say so."""
    RESEND = "resend"
    """One attempt of a delivery besides its schedule."""
    ATTEMPT = "attempt"
    """A scheduled attempt. One without an action is of an execution from before there was this."""
    SHORT_ATTEMPT = "short_attempt"
    """A scheduled attempt after a short delay, which an Express machine asks for."""
    NOTE_DEAD_LETTER = "note_dead_letter"
    """The dead-letter queue has a delivery's message: its record is to say so."""
    SWEEP = "sweep"
