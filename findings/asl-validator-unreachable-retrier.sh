#!/usr/bin/env bash
# asl-validator passes a state machine whose States.ALL retrier is not the last.
#
# Surprising: the validator, which finds unreachable states, says nothing to a retrier that can never be
#   reached, nor to a heartbeat that is longer than the timeout, nor to a Choice state with End.
# Matters: a retry schedule is the heart of a webhook sender. A machine that passes its checks is refused
#   when it is deployed, or retries every error alike.
# Expected because: the Amazon States Language specification, which the package validates, says that
#   States.ALL must be in the last retrier, that HeartbeatSeconds must be smaller than TimeoutSeconds,
#   and that a Choice state must not be an End state.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" asl-validator@4.0.0

cd "$folder"
node - <<'JS'
const validate = require('asl-validator');
const check = validate.default ?? validate;
const task = (fields) => ({
  StartAt: 'Attempt',
  States: {
    Attempt: { Type: 'Task', Resource: 'arn:aws:lambda:eu-west-1:123456789012:function:f', End: true, ...fields },
  },
});
const machines = {
  'well-formed': task({ Retry: [{ ErrorEquals: ['Throttled'] }, { ErrorEquals: ['States.ALL'] }] }),
  'States.ALL first': task({ Retry: [{ ErrorEquals: ['States.ALL'] }, { ErrorEquals: ['Throttled'] }] }),
  'heartbeat over timeout': task({ TimeoutSeconds: 5, HeartbeatSeconds: 9 }),
  'Choice with End': {
    StartAt: 'Decide',
    States: {
      Decide: { Type: 'Choice', End: true, Choices: [{ Variable: '$.again', BooleanEquals: true, Next: 'Stop' }] },
      Stop: { Type: 'Succeed' },
    },
  },
};
const seen = Object.fromEntries(
  Object.entries(machines).map(([name, machine]) => [name, check(machine).isValid]),
);
console.log('Software: asl-validator 4.0.0 (npm)');
console.log('Expected: only the first is valid');
console.log('Seen: valid:', JSON.stringify(seen));
process.exit(Object.values(seen).every(Boolean) ? 0 : 1);
JS
