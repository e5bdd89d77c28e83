#!/usr/bin/env bash
# cloudevents (npm) reads an event only if its charset parameter is spelt as the package itself spells it.
#
# Surprising: "application/cloudevents+json; charset=utf-8" is read; with "UTF-8", or without the space, the
#   same event is an invalid content type. In binary mode the data of such an "application/json" event
#   arrives as text instead of an object, without an error.
# Matters: whether a receiver takes a webhook depends on which HTTP library the sender has, since some
#   write "charset=UTF-8".
# Expected because: RFC 9110, sections 5.6.6 and 8.3.2: the space after the semicolon is optional, and
#   charset names are matched without regard to case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" cloudevents@10.0.0

cd "$folder"
node - <<'JS'
const { HTTP } = require('cloudevents');
const attributes = { id: '1', source: '/orders', type: 'com.example.order', specversion: '1.0' };
const data = { order: 7 };
const ends = ['; charset=utf-8', '; charset=UTF-8', ';charset=utf-8'];
const structured = (end) => {
  try {
    const headers = { 'content-type': `application/cloudevents+json${end}` };
    return typeof HTTP.toEvent({ headers, body: JSON.stringify({ ...attributes, data }) }).data;
  } catch {
    return 'refused';
  }
};
const binary = (end) => {
  const headers = { 'content-type': `application/json${end}` };
  for (const [name, value] of Object.entries(attributes)) headers[`ce-${name}`] = value;
  return typeof HTTP.toEvent({ headers, body: JSON.stringify(data) }).data;
};
const seen = ends.map((end) => `${structured(end)} and ${binary(end)}`);
console.log('Software: cloudevents 10.0.0 (npm)');
console.log('Expected: the data is an object, in structured and in binary mode, with each of the three');
for (const [index, end] of ends.entries()) console.log(`Seen: with "${end}": ${seen[index]}`);
process.exit(seen.join() === 'object and object,refused and string,refused and string' ? 0 : 1);
JS
