"""Jobs: of each kind what its owner does, and the steps that the worker makes."""
