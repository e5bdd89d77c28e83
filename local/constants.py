"""Where the stack on this machine says it is: what its ARNs and urls are made of."""

REGION = "us-east-1"
ACCOUNT = "123456789012"
