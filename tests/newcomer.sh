#!/usr/bin/env bash
# A newcomer's first minutes: a clean clone, then the commands of the README's chapter "See it work". Each
# must print what the README shows. Fails if that takes more than five minutes, not counting compilation.
#
# tests/newcomer.sh [PROGRAM]
#
# With PROGRAM, a weir that is already built, nothing is compiled, and cargo run starts it. Without it, cargo
# compiles in the clone, into CARGO_TARGET_DIR if that is set. The demo's ports, 7800 to 7820, must be free.
set -euo pipefail

(($# <= 1)) || { echo "usage: tests/newcomer.sh [PROGRAM]" >&2; exit 2; }
program=${1:+$(realpath "$1")}
repository=$(cd "$(dirname "$0")/.." && pwd)
for name in $(compgen -e | grep '^WEIR_' || true); do unset "$name"; done

scratch=$(mktemp -d)
demo=
clean_up() {
    if [[ -n $demo ]]; then kill "$demo" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap clean_up EXIT

# What the chapter has in blocks of a language, one file for each block.
blocks() {
    mkdir -p "$scratch/$1"
    awk -v language="$1" -v folder="$scratch/$1" '
        /^## / { here = $0 == "## See it work" }
        here && $0 == "```" language { file = sprintf("%s/%02d", folder, ++count); next }
        $0 == "```" { file = "" }
        file { print > file }
    ' README.md
}

# Without what differs from run to run: numbers, ids of purges, line ends of HTTP.
comparable() {
    tr -d '\r' | sed -E -e 's/^(purge   ).*/\1ID/' -e 's/[0-9]+(\.[0-9]+)?/0/g' -e 's/[ \t]+$//'
}

# Runs a command and holds what it prints against what is shown.
step() {
    local printed
    echo "\$ $1"
    printed=$(eval "$1" 2>&1) || true
    echo "$printed"
    if ! diff <(comparable <<<"$2") <(comparable <<<"$printed") >"$scratch/difference"; then
        echo "the README shows something else:" >&2
        cat "$scratch/difference" >&2
        exit 1
    fi
}

# The commands of a console block, each with the lines shown below it.
follow() {
    local line command= shown=
    while IFS= read -r line; do
        if [[ $line == '$ '* ]]; then
            if [[ -n $command ]]; then step "$command" "${shown%$'\n'}"; fi
            command=${line#'$ '} shown=
        else
            shown+=$line$'\n'
        fi
    done <"$1"
    step "$command" "${shown%$'\n'}"
}

begin=$SECONDS
git clone -q "$repository" "$scratch/weir"
cd "$scratch/weir"
blocks sh
blocks console
cloned=$((SECONDS - begin))

# The first block starts the demo; what cargo would compile is not of this measure.
if [[ -n $program ]]; then
    mkdir -p "$scratch/bin" target/release
    ln -s "$program" target/release/weir
    printf '%s\n' '#!/bin/sh' 'while [ "$1" != -- ]; do shift; done; shift' \
        "exec '$program' \"\$@\"" >"$scratch/bin/cargo"
    chmod +x "$scratch/bin/cargo"
    PATH=$scratch/bin:$PATH
else
    if [[ -n ${CARGO_TARGET_DIR:-} ]]; then ln -s "$CARGO_TARGET_DIR" target; fi
    cargo build --release
fi

begin=$SECONDS
bash -c "exec $(cat "$scratch/sh/01")" >"$scratch/printed" 2>"$scratch/log" &
demo=$!
until grep -qs "^Press Ctrl-C" "$scratch/printed"; do
    if ! kill -0 "$demo" 2>/dev/null || ((SECONDS - begin > 60)); then
        echo "the demo does not start:" >&2
        cat "$scratch/printed" "$scratch/log" >&2
        exit 1
    fi
    sleep 0.1
done
if grep 'is taken' "$scratch/printed" >&2; then
    echo "the README's addresses are in use by others" >&2
    exit 1
fi
# The second prepares the other terminal.
# shellcheck disable=SC1090
. "$scratch/sh/02"
for console in "$scratch"/console/*; do follow "$console"; done
kill "$demo"
wait "$demo"
demo=
took=$((cloned + SECONDS - begin))
echo "a newcomer's steps: $took s beyond compilation"
((took <= 300))
