"""The AWS account and region of the stack on this machine, for its ARNs and urls."""

REGION = "us-east-1"
ACCOUNT = "123456789012"
