"""The Lambda function of the state machines and of the sweep's schedule."""
