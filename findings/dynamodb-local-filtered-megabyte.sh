#!/usr/bin/env bash
# DynamoDB Local ends a filtered Query at a megabyte of what it returns, not of what it reads.
#
# Surprising: a Query over 12 MB whose filter lets nothing through is one page, of about 1,500 units.
# Matters: a loop that stops after so many pages, or bounds what a filter may cost by the size of one page, reads
#   the whole partition in its test, and a twelfth of it on AWS.
# Expected because: DynamoDB's guide says that a Query processes at most 1 MB, and that the filter is
#   applied after that; the page then ends with a LastEvaluatedKey, here after about 128 units.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cat >"$folder/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>3.1.0</version>
  </dependency></dependencies>
</project>
XML
mvn -q -B -f "$folder/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$folder/lib" >"$folder/mvn.log" 2>&1 || { cat "$folder/mvn.log"; exit 1; }
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd "$folder" && exec java -cp 'lib/*' software.amazon.dynamodb.services.local.main.ServerRunner \
  -inMemory -port "$port" >"$folder/log" 2>&1) &
server=$!

"$folder/venv/bin/python" - "$port" <<'PYTHON'
import socket
import sys
import time

import boto3

for _ in range(60):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(1)
dynamodb = boto3.client(
    "dynamodb",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="eu-west-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
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
for number in range(200):
    dynamodb.put_item(
        TableName="orders",
        Item={"shop": {"S": "a"}, "number": {"N": str(number)}, "note": {"S": "n" * 60_000}},
    )


def first_page(**more):
    answer = dynamodb.query(
        TableName="orders",
        KeyConditionExpression="shop = :shop",
        ExpressionAttributeValues={":shop": {"S": "a"}, **more.pop("values", {})},
        ReturnConsumedCapacity="TOTAL",
        **more,
    )
    return answer["ScannedCount"], "LastEvaluatedKey" in answer, answer["ConsumedCapacity"]["CapacityUnits"]


plain = first_page()
filtered = first_page(FilterExpression="note = :note", values={":note": {"S": "none"}})
print("Software: DynamoDB Local 3.1.0 (Maven)")
print("Expected: with a filter or without, about 18 items are read, 128 units, and there is more")
print(f"Seen: without {plain}, with a filter {filtered} (items read, more, units)")
sys.exit(not (plain[0] < 20 and plain[1] and filtered[0] == 200 and not filtered[1] and filtered[2] > 1_000))
PYTHON
