"""The Lambda function behind the events queue."""
