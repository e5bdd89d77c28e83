"""A batch of queue messages in three steps: read, deliver, record."""
