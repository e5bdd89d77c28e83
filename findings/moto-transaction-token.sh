#!/usr/bin/env bash
# moto carries out a DynamoDB transaction again when its ClientRequestToken is repeated.
#
# Surprising: a counter that one idempotent TransactWriteItems raises stands at 2 after a repetition,
#   and a repetition with other parameters is accepted.
# Matters: a sender that counts deliveries or spends an allowance in a transaction relies on the token
#   when a request is retried; its tests on moto show a double count that AWS never makes, and cannot
#   show the IdempotentParameterMismatchException that AWS gives.
# Expected because: the API reference of TransactWriteItems says that calls with one token have the
#   effect of a single call for ten minutes, and that other parameters are refused. DynamoDB Local does so.
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
        TableName="counters",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )

    def add(number):
        update = {
            "TableName": "counters",
            "Key": {"id": {"S": "a"}},
            "UpdateExpression": "ADD deliveries :number",
            "ExpressionAttributeValues": {":number": {"N": number}},
        }
        try:
            dynamodb.transact_write_items(
                ClientRequestToken="one-token", TransactItems=[{"Update": update}]
            )
        except dynamodb.exceptions.IdempotentParameterMismatchException:
            return "refused"
        item = dynamodb.get_item(TableName="counters", Key={"id": {"S": "a"}})["Item"]
        return item["deliveries"]["N"]

    seen = [add("1"), add("1"), add("5")]

print("Software: moto 5.2.5 (PyPI)")
print("Expected: the counter is 1, then still 1, then the transaction with other parameters is refused")
print(f"Seen: {', '.join(seen)}")
sys.exit(seen != ["1", "2", "7"])
PYTHON
