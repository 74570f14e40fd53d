#!/usr/bin/env bash
# Whether the tests would notice: builds a node that stamps what it fetches when the fetch ends
# instead of when it begins (so that a purge which came meanwhile misses it), and runs against it
# the randomized run on real processes (tests/torture.rs) and the model of the rules
# (rules/tests/model). Its control does not compare the writer's term when it appends to a log in etcd, and the tests
# of that journal run against it. Exit status 0 only where all of them found what is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
# The faulty program takes the sound one's place in the target directory, and leaves it again.
clean_up() {
    rm -f "$output"
    env -u RUSTC_WORKSPACE_WRAPPER cargo test --workspace --locked --test torture --no-run
}
trap clean_up EXIT

export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/faulty-rustc
export RUST_BACKTRACE=0
# Far more than it takes: both end at the first thing that is wrong.
export WEIR_READS=${WEIR_READS:-300000}

# Of the whole workspace, so that what it depends on has the features that it has elsewhere.
tests=(cargo test --workspace --locked)
"${tests[@]}" --test torture --test model --no-run

# finds WORDS ARGUMENTS...: whether these tests fail, and say so in these words.
finds() {
    local words=$1 began=$SECONDS
    shift
    if "${tests[@]}" "$@" >"$output" 2>&1; then
        echo "NOT FOUND by $*" >&2
        exit 1
    fi
    if ! grep -m1 -E "$words" "$output"; then
        # What a test says is wrong stands before what happened last.
        grep -A25 ' panicked at ' "$output" >&2 || tail -50 "$output" >&2
        echo "FAILED, but of something else: $*" >&2
        exit 1
    fi
    echo "found after $((SECONDS - began)) s by $*"
}

old='is older than a hard purge|older than a soft purge, was sent as fresh|was purged by its tag'
finds 'it is not so that' --test model the_rules_hold
finds "$old" --test torture eight_edges
finds "$old" --test torture edges_under_parents
finds 'the log in etcd was changed by someone else' --lib a_writer_of_the_past_appends_nothing
