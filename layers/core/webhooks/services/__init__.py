"""The steps of each use case, written against the ports."""
