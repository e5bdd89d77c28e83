#!/usr/bin/env bash
# pytest-xdist 3.8.0 ignores xdist_group marks under pytest 9.2.0.
#
# Surprising: with --dist loadgroup, tests of one group run in several workers; nothing warns, and the
#   installer sees no conflict. Under pytest 9.0.2 the same xdist keeps the group together.
# Matters: tests that share one emulator, one port or one table rely on the group, and begin to fail now
#   and then after an update of pytest alone.
# Expected because: xdist's documentation says that all tests with the same group name run in the same
#   worker; its requirement is pytest 7 or newer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("one emulator")
@pytest.mark.parametrize("number", range(12))
def test_in_a_group(number):
    time.sleep(0.1)
    with open(os.environ["WORKERS"], "a") as workers:
        workers.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PYTHON

workers() {
  python3 -m venv "$folder/venv-$1"
  "$folder/venv-$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0 >&2
  WORKERS="$folder/workers-$1" "$folder/venv-$1/bin/python" -m pytest -q -n 2 --dist loadgroup \
    --rootdir "$folder" -c /dev/null -p no:cacheprovider "$folder/test_group.py" >&2
  sort -u "$folder/workers-$1" | wc -l
}

older=$(workers 9.0.2)
newer=$(workers 9.2.0)
echo "Software: pytest-xdist 3.8.0 with pytest 9.2.0 (PyPI)"
echo "Expected: the tests of one group run in 1 worker"
echo "Seen: in $older with pytest 9.0.2, in $newer with pytest 9.2.0"
[ "$older" -eq 1 ] && [ "$newer" -gt 1 ]
