#!/usr/bin/env bash
# Whether the tests would notice: builds a node that stamps what it fetches when the fetch ends
# instead of when it begins (so that a purge which came meanwhile misses it), and runs against it
# the randomized run on real processes (tests/torture.rs) and the model of the rules
# (rules/tests/model). Exit status 0 only where both found an old response.
#
# Builds into a target directory of its own: WEIR_FAULT_TARGET, else target/fault.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${WEIR_FAULT_TARGET:-target/fault}
export RUSTFLAGS='--cfg weir_fault="stamp_at_end"'
export RUST_BACKTRACE=0
# Far more than it takes: both end at the first thing that is wrong.
export WEIR_READS=${WEIR_READS:-300000}

tests=(cargo test -p weir -p weir-rules)
"${tests[@]}" --test torture --test model --no-run

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# finds WORDS ARGUMENTS...: whether these tests fail, and say so in these words.
finds() {
    local words=$1 began=$SECONDS
    shift
    if "${tests[@]}" "$@" >"$output" 2>&1; then
        echo "NOT FOUND by $*" >&2
        exit 1
    fi
    if ! grep -m1 -E "$words" "$output"; then
        tail -50 "$output" >&2
        echo "FAILED, but of something else: $*" >&2
        exit 1
    fi
    echo "found after $((SECONDS - began)) s by $*"
}

old='is older than a hard purge|older than a soft purge, was sent as fresh|was purged by its tag'
finds 'it is not so that' --test model the_rules_hold
finds "$old" --test torture eight_edges
finds "$old" --test torture edges_under_parents
