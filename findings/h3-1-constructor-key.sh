#!/usr/bin/env bash
# h3 1 (npm, below Nitro and Nuxt 3) refuses JSON that has the key "constructor", whatever its value.
#
# Surprising: `readBody` answers 400 to {"constructor": "Lego"}, which is JSON that `JSON.parse` and
#   every other parser of Node.js's frameworks take; it is meant to ward off prototypes.
# Matters: a webhook or a form with such a field (a car's constructor, a tag's name) can never be read,
#   and the handler has no say in it; h3 2 takes it.
# Expected because: the documentation of `readBody` says that it parses JSON, and names no key that it
#   refuses; Fastify refuses the key only where its value has a `prototype`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts h3@1.15.11 >/dev/null

node --input-type=module - <<'JAVASCRIPT'
import { createServer } from 'node:http';
import { createApp, eventHandler, readBody, toNodeListener } from 'h3';

const app = createApp({ onError: () => {} }).use(eventHandler((event) => readBody(event)));
const server = createServer(toNodeListener(app)).listen(0, '127.0.0.1', async () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const seen = [];
  for (const body of [{ maker: 'Lego' }, { constructor: 'Lego' }]) {
    const headers = { 'Content-Type': 'application/json' };
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    seen.push(answer.status);
  }
  console.log('Software: h3 1.15.11 (npm)');
  console.log('Expected: {"maker":"Lego"} and {"constructor":"Lego"} are both read: 200, 200');
  console.log(`Seen: ${seen.join(', ')}`);
  process.exit(seen[0] === 200 && seen[1] === 400 ? 0 : 1);
});
JAVASCRIPT
