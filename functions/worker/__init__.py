"""The task of the state machines."""
