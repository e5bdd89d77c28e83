#!/usr/bin/env bash
# json-canon (npm) writes text that is no JSON for an object with an undefined property.
#
# Surprising: {a: undefined, b: 1} becomes {,"b":1}, without an error. In an array it writes null, as
#   JSON.stringify does, so that the package does know about undefined.
# Matters: a sender that signs the canonical form sends a body that no receiver can parse, as soon as
#   one optional field is not set.
# Expected because: RFC 8785, which the package implements, builds on ECMAScript's JSON.stringify, which
#   leaves such a property out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" json-canon@1.0.1

cd "$folder"
node - <<'JS'
const canon = require('json-canon');
const write = canon.default ?? canon;
const values = [{ a: undefined, b: 1 }, [undefined, 1]];
const seen = values.map((value) => write(value));
console.log('Software: json-canon 1.0.1 (npm)');
console.log(`Expected: ${values.map((value) => JSON.stringify(value)).join(' and ')}`);
console.log(`Seen: ${seen.join(' and ')}`);
process.exit(seen[0] === '{,"b":1}' && seen[1] === '[null,1]' ? 0 : 1);
JS
