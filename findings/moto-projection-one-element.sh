#!/usr/bin/env bash
# moto returns only one of two list elements that a ProjectionExpression names.
#
# Surprising: of "letters[0], letters[2]" only the last named element comes back, and of two fields of
#   one element, "attempts[0].answer, attempts[0].url", only the last field. Two fields of a map both come.
# Matters: a reader that fetches the first and the latest attempt of a delivery finds only the
#   latest in its tests on moto, though it is right on AWS.
# Expected because: DynamoDB's guide to projection expressions returns each attribute that is named, list
#   elements among them, in a list of those found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5'

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

import boto3
from boto3.dynamodb.types import TypeDeserializer
from moto import mock_aws

ITEM = {
    "id": {"S": "a"},
    "letters": {"L": [{"S": letter} for letter in "abcde"]},
    "attempts": {"L": [{"M": {"answer": {"S": "503"}, "url": {"S": "a"}}}]},
    "details": {"M": {"answer": {"S": "503"}, "url": {"S": "a"}}},
}

with mock_aws():
    dynamodb = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    dynamodb.create_table(
        TableName="deliveries",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    dynamodb.put_item(TableName="deliveries", Item=ITEM)

    def get(expression):
        item = dynamodb.get_item(
            TableName="deliveries",
            Key={"id": {"S": "a"}},
            ProjectionExpression=expression,
        )["Item"]
        return json.dumps(TypeDeserializer().deserialize(item[expression.split(",")[0].split(".")[0].split("[")[0]]))

    seen = [
        get("details.answer, details.url"),
        get("letters[0], letters[2]"),
        get("attempts[0].answer, attempts[0].url"),
    ]

print("Software: moto 5.2.5 (PyPI)")
print('Expected: {"answer": "503", "url": "a"} and ["a", "c"] and [{"answer": "503", "url": "a"}]')
print(f"Seen: {' and '.join(seen)}")
sys.exit(seen != ['{"answer": "503", "url": "a"}', '["c"]', '[{"url": "a"}]'])
PYTHON
