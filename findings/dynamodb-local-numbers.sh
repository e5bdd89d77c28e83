#!/usr/bin/env bash
# DynamoDB Local normalises a number in PutItem, and keeps its spelling in UpdateItem.
#
# Surprising: the same value, 0010.50, is read back as 10.5 after a put and as 0010.50 after an update;
#   inside a map it is kept even after a put.
# Matters: a body or a signature that is built from a stored number has other bytes after an update than
#   after a put. A test on AWS's own emulator then holds for one writer and not for the other.
# Expected because: DynamoDB's guide says that leading and trailing zeros of numbers are trimmed,
#   whatever the operation.
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
    TableName="numbers",
    BillingMode="PAY_PER_REQUEST",
    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
)
number = {"N": "0010.50"}
dynamodb.put_item(TableName="numbers", Item={"id": {"S": "put"}, "n": number})
dynamodb.put_item(TableName="numbers", Item={"id": {"S": "map"}, "n": {"M": {"inner": number}}})
dynamodb.update_item(
    TableName="numbers",
    Key={"id": {"S": "update"}},
    UpdateExpression="SET n = :n",
    ExpressionAttributeValues={":n": number},
)


def read(name):
    item = dynamodb.get_item(TableName="numbers", Key={"id": {"S": name}}, ConsistentRead=True)["Item"]
    return item["n"].get("N") or item["n"]["M"]["inner"]["N"]


seen = [read("put"), read("update"), read("map")]
print("Software: DynamoDB Local 3.1.0 (Maven)")
print("Expected: 0010.50 is read as 10.5 after PutItem, after UpdateItem and inside a map")
print(f"Seen: {seen[0]} after PutItem, {seen[1]} after UpdateItem, {seen[2]} inside a map")
sys.exit(seen != ["10.5", "0010.50", "0010.50"])
PYTHON
