"""`webhooks`: the command line of an account that owns webhooks, over the public API."""
