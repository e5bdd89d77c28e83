"""Commands for the operator of a stack: deploy it, make API keys, send rejected messages again."""
