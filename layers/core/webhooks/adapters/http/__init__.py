"""The sender: one signed POST to one receiver, and the address guard that it cannot go around."""
