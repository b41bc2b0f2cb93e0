#!/bin/sh
# All tests. Brings up an engine if there is none, and stops what it started, also when tests fail.
set -u
cd "$(dirname "$0")/.."

cleanup() {
    [ -z "${started:-}" ] || python3 scripts/engine.py down
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

.venv/bin/python -m pytest -q tests/house tests/unit -n "${TEST_PROCESSES:-auto}" || failed=1
# No flag is parsed and ignored: with each one dropped in turn, a test must fail.
.venv/bin/python scripts/flags.py || failed=1

# The pages are looked at in a real browser; a failure to get it shows in the tests that need it.
scripts/chromium.sh || echo "test: Chromium could not be installed" >&2
scripts/sshtools.sh || echo "test: not all of ssh, rsync and sshfs could be installed" >&2

before=$(python3 scripts/engine.py status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["running"])')
if python3 scripts/engine.py up; then
    [ "$before" = True ] || started=1
else
    echo "test: no container engine can be had here; tests that need one are left out" >&2
fi
.venv/bin/python -m pytest -q tests/engine tests/e2e || failed=1

exit "${failed:-0}"
