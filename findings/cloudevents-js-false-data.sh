#!/usr/bin/env bash
# cloudevents (npm) loses the data of a structured event when it is false, 0 or an empty string.
#
# Surprising: HTTP.structured writes "data":false into the body, and HTTP.toEvent reads that same body into
#   an event without data; true and 1 arrive.
# Matters: a webhook that says "paused: no", or a count that has come down to nought, reaches the receiver
#   as an event that carries nothing.
# Expected because: the JSON format of CloudEvents lets data be any JSON value, and the package writes
#   it so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" cloudevents@10.0.0

cd "$folder"
node - <<'JS'
const { CloudEvent, HTTP } = require('cloudevents');
const values = [true, 1, false, 0, ''];
const seen = values.map((data) => {
  const event = new CloudEvent({ id: '1', source: '/orders', type: 'com.example.order', data });
  const message = HTTP.structured(event);
  if (JSON.parse(message.body).data !== data) throw new Error(message.body);
  return JSON.stringify(HTTP.toEvent(message).data) ?? 'no data';
});
console.log('Software: cloudevents 10.0.0 (npm)');
console.log(`Expected: ${values.map((value) => JSON.stringify(value)).join(', ')}`);
console.log(`Seen: ${seen.join(', ')}`);
process.exit(seen.join() === 'true,1,no data,no data,no data' ? 0 : 1);
JS
