#!/usr/bin/env bash
# moto says that a Query used one unit, whatever it read.
#
# Surprising: ReturnConsumedCapacity of a query over ten items of 300 KB is 1 unit, as of one small item.
# Matters: code that stops before a query costs too much never stops in its tests on moto.
# Expected because: DynamoDB's guide counts half a unit for each 4 KB of all the items that an eventually
#   consistent query reads: some 125 units for the first megabyte here.
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
        TableName="orders",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "shop", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "shop", "AttributeType": "S"},
            {"AttributeName": "number", "AttributeType": "N"},
        ],
    )

    def units(shop, size, count):
        for number in range(count):
            item = {"shop": {"S": shop}, "number": {"N": str(number)}, "note": {"S": "n" * size}}
            dynamodb.put_item(TableName="orders", Item=item)
        answer = dynamodb.query(
            TableName="orders",
            KeyConditionExpression="shop = :shop",
            ExpressionAttributeValues={":shop": {"S": shop}},
            ReturnConsumedCapacity="TOTAL",
        )
        return answer["ConsumedCapacity"]["CapacityUnits"]

    seen = [units("small", 10, 1), units("large", 300_000, 10)]

print("Software: moto 5.2.5 (PyPI)")
print("Expected: 0.5 and more than 100")
print(f"Seen: {seen[0]} and {seen[1]}")
sys.exit(seen != [1.0, 1.0] and seen != [1, 1])
PYTHON
