#!/usr/bin/env bash
# ElasticMQ refuses a DeleteMessage with the receipt handle of an earlier receive.
#
# Surprising: on a standard queue, a consumer that took longer than the visibility timeout gets the error
#   ReceiptHandleIsInvalid, while another consumer has the message.
# Matters: a slow dispatcher deletes after its timeout now and then. On AWS the call succeeds and does
#   nothing; on ElasticMQ the consumer fails, so its batch is reported as failed and sent again.
# Expected because: the API reference of DeleteMessage says that with an older receipt handle the
#   request succeeds, and the message is not deleted. moto answers 200 as well.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cat >"$folder/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId><version>1.7.1</version>
  </dependency></dependencies>
</project>
XML
mvn -q -B -f "$folder/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$folder/lib" >"$folder/mvn.log" 2>&1 || { cat "$folder/mvn.log"; exit 1; }
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/elasticmq.conf" <<CONF
include classpath("application.conf")
node-address { protocol = http, host = localhost, port = $port, context-path = "" }
rest-sqs { enabled = true, bind-port = $port, bind-hostname = "127.0.0.1", sqs-limits = strict }
rest-stats { enabled = false }
CONF
java -Dconfig.file="$folder/elasticmq.conf" -cp "$folder/lib/*" org.elasticmq.server.Main >"$folder/log" 2>&1 &
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
sqs = boto3.client(
    "sqs",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="elasticmq",
    aws_access_key_id="x",
    aws_secret_access_key="x",
)
queue = sqs.create_queue(QueueName="events")["QueueUrl"]
sqs.send_message(QueueUrl=queue, MessageBody="an event")
(first,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=1)["Messages"]
time.sleep(1.5)
(second,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=30)["Messages"]
assert first["MessageId"] == second["MessageId"]
try:
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    seen = "the call succeeds"
except sqs.exceptions.ReceiptHandleIsInvalid:
    seen = "ReceiptHandleIsInvalid"
print("Software: ElasticMQ 1.7.1 (Maven)")
print("Expected: DeleteMessage with the older receipt handle: the call succeeds, the message stays")
print(f"Seen: {seen}")
sys.exit(seen != "ReceiptHandleIsInvalid")
PYTHON
