"""The cost of a delivery in units, dollars and milliseconds, and its measurement."""
