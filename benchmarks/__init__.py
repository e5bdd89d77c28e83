"""What a delivery costs, in units, dollars and milliseconds, and how that is measured."""
