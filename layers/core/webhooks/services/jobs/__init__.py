"""Jobs: for each kind the owner's calls, and the steps that the worker makes."""
