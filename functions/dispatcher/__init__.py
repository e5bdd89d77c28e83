"""The function behind the events queue."""
