#!/bin/bash
# Runs every test of the workspace and ends with one line: N passed, N failed, N skipped.
# A test that cannot run on this machine prints "SKIPPED: why"; it counts as skipped, not passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
started=$SECONDS

echo "test: building (the AWS SDK takes minutes the first time)"
cargo build --workspace --bins --tests || { echo "0 passed, 1 failed"; exit 1; }
echo "test: built after $((SECONDS - started)) s"

# The cluster has a run of its own: make e2e.
cargo test --workspace --exclude csi-cluster --no-fail-fast -- --nocapture "$@" 2>&1 | tee "$log" | grep --line-buffered -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|)$'
status=${PIPESTATUS[0]}

skipped=$(grep -c 'SKIPPED:' "$log")
sum() { awk -v word="$1" '/^test result:/ {for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1)} END {print n + 0}' "$log"; }
passed=$(($(sum passed) - skipped))
failed=$(sum failed)
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
grep 'SKIPPED:' "$log" | sort | uniq -c
echo "test: finished after $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
