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
    """One attempt of a delivery besides its schedule; a scheduled one has no action."""
    SWEEP = "sweep"
