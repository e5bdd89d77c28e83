"""The HTTP API's function."""
