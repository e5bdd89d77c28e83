#!/usr/bin/env bash
# aws-cron-parser (npm) moves the 31st of a short month into the next month.
#
# Surprising: after January, the next time of "0 10 31 * ? *" is 3 March at 10:00, and that of
#   "0 10 29 2 ? *" in 2027 is 1 March, a day that the expression does not name.
# Matters: a page that shows when the monthly report of deliveries comes next, or a test that steps
#   through a schedule, names days on which nothing runs.
# Expected because: EventBridge's guide to cron expressions reads the third field as the day of the month,
#   so a month without that day has no run; the package says that it supports all of that guide. The PyPI
#   package aws-croniter 2.1.1 answers 31 March and 29 February 2028.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" aws-cron-parser@1.1.12

cd "$folder"
node - <<'JS'
const cron = require('aws-cron-parser');
const next = (expression, after) => cron.next(cron.parse(expression), new Date(after)).toISOString();
const seen = [
  next('0 10 31 * ? *', '2026-01-31T10:00:00Z'),
  next('0 10 29 2 ? *', '2026-07-04T00:00:00Z'),
];
console.log('Software: aws-cron-parser 1.1.12 (npm)');
console.log('Expected: 2026-03-31T10:00:00.000Z and 2028-02-29T10:00:00.000Z');
console.log(`Seen: ${seen.join(' and ')}`);
process.exit(String(seen) === '2026-03-03T10:00:00.000Z,2027-03-01T10:00:00.000Z' ? 0 : 1);
JS
