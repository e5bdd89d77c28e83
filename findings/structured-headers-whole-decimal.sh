#!/usr/bin/env bash
# structured-headers (npm) writes "1." for a number that rounds to a whole one.
#
# Surprising: serializeItem(1.0004) is "1.", and serializeItem(0.0001) "0.", which are no decimals, and
#   which the package's own parser refuses. 1.5 and 1 are written rightly.
# Matters: a sender that puts a computed number into a header, such as the share of a limit that is
#   left, sends a field now and then that every receiver must ignore as a whole.
# Expected because: RFC 9651, section 4.1.5 (and RFC 8941 before it): a decimal is rounded to three digits,
#   and a fraction that is then zero is written as ".0".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" structured-headers@2.1.0

cd "$folder"
cat >write.mjs <<'JS'
import { parseItem, serializeItem } from 'structured-headers';

const seen = [1.5, 1.0004, 0.0001].map((number) => {
  const text = serializeItem(number);
  try {
    parseItem(text);
    return text;
  } catch {
    return `${text} (refused by parseItem)`;
  }
});
console.log('Software: structured-headers 2.1.0 (npm)');
console.log('Expected: 1.5 and 1.0 and 0.0');
console.log(`Seen: ${seen.join(' and ')}`);
process.exit(seen.join() === '1.5,1. (refused by parseItem),0. (refused by parseItem)' ? 0 : 1);
JS
node write.mjs
