#!/usr/bin/env bash
# dynalite removes the wrong list element when one expression removes two.
#
# Surprising: REMOVE attempts[1], attempts[2] on [a, b, c, d, e] leaves [a, c, e]: the second index is
#   counted in the list that the first removal has left.
# Matters: a log of attempts or a list of old secrets, trimmed in one update, loses an entry that was to
#   stay and keeps one that was to go, only on the developer's machine.
# Expected because: DynamoDB's guide to update expressions removes elements [1] and [2] of a list in
#   just this way, by their positions in the item before the update. DynamoDB Local and moto do so.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" dynalite@4.0.0
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
node "$folder/node_modules/dynalite/cli.js" --host 127.0.0.1 --port "$port" --createTableMs 0 >"$folder/log" 2>&1 &
server=$!

"$folder/venv/bin/python" - "$port" <<'PYTHON'
import sys

import boto3
from botocore.config import Config

dynamodb = boto3.client(
    "dynamodb",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="eu-west-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
    config=Config(retries={"max_attempts": 9}),
)
dynamodb.create_table(
    TableName="deliveries",
    BillingMode="PAY_PER_REQUEST",
    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
)
dynamodb.get_waiter("table_exists").wait(TableName="deliveries", WaiterConfig={"Delay": 1})
letters = [{"S": letter} for letter in "abcde"]
dynamodb.put_item(TableName="deliveries", Item={"id": {"S": "1"}, "attempts": {"L": letters}})
updated = dynamodb.update_item(
    TableName="deliveries",
    Key={"id": {"S": "1"}},
    UpdateExpression="REMOVE attempts[1], attempts[2]",
    ReturnValues="ALL_NEW",
)["Attributes"]
seen = "".join(value["S"] for value in updated["attempts"]["L"])
print("Software: dynalite 4.0.0 (npm)")
print("Expected: without its elements 1 and 2, abcde is ade")
print(f"Seen: {seen}")
sys.exit(seen != "ace")
PYTHON
