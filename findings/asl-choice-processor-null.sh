#!/usr/bin/env bash
# @wmfs/asl-choice-processor (npm) compares values of different types.
#
# Surprising: NumericGreaterThanEquals 0 is true of null, and NumericLessThan 10 of the string "5".
# Matters: a count of attempts that is null, or that has become a string on the way, takes the branch
#   for numbers in the local run, and the Default on AWS.
# Expected because: the Amazon States Language says that a comparison of values that are not both of the
#   operator's type is false.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" @wmfs/asl-choice-processor@1.24.1

cd "$folder"
node - <<'JS'
const processor = require('@wmfs/asl-choice-processor');
const next = (rule, attempts) =>
  processor({ Choices: [{ Variable: '$.attempts', ...rule, Next: 'Match' }], Default: 'Default' })({ attempts });
const seen = [
  next({ NumericGreaterThanEquals: 0 }, 1),
  next({ NumericGreaterThanEquals: 0 }, null),
  next({ NumericLessThan: 10 }, '5'),
];
console.log('Software: @wmfs/asl-choice-processor 1.24.1 (npm)');
console.log('Expected: Match for 1, Default for null, Default for "5"');
console.log(`Seen: ${seen[0]} for 1, ${seen[1]} for null, ${seen[2]} for "5"`);
process.exit(String(seen) === 'Match,Match,Match' ? 0 : 1);
JS
