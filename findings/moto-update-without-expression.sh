#!/usr/bin/env bash
# moto refuses an UpdateItem that has a key and a condition and changes nothing.
#
# Surprising: without UpdateExpression moto raises AttributeError inside, which reaches the caller as it is.
# Matters: an update without a change is how a service sees whether a condition holds on an item that it may not
#   read. Its tests fail on moto, though AWS takes it.
# Expected because: in DynamoDB's API reference only TableName and Key are required of UpdateItem; the item is
#   made where it is absent, and else stays as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5'

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import boto3
from moto import mock_aws

with mock_aws():
    dynamodb = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    dynamodb.create_table(
        TableName="accounts",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    item = {"id": {"S": "a"}, "status": {"S": "active"}}
    dynamodb.put_item(TableName="accounts", Item=item)
    try:
        dynamodb.update_item(
            TableName="accounts",
            Key={"id": {"S": "a"}},
            ConditionExpression="#status = :active",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":active": {"S": "active"}},
        )
        seen = "the item stays as it is"
    except Exception as error:
        seen = type(error).__name__

print("Software: moto 5.2.5 (PyPI)")
print("Expected: the item stays as it is")
print(f"Seen: {seen}")
sys.exit(seen != "AttributeError")
PYTHON
