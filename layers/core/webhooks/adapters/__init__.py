"""AWS and HTTP behind the ports: the only place that imports boto3 or requests."""
