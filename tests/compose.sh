#!/usr/bin/env bash
# docker-compose.yml on a real engine, as a user brings it up: a miss and a hit through the published
# port, a purge with the token, an origin that goes away, a restart, a drain. Needs an engine,
# compose (v1 or v2), curl, and binaries in dist/ (deploy/prebuilt). Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

WEIR_PORT=${WEIR_PORT:-28080}
WEIR_CONTROL_PORT=${WEIR_CONTROL_PORT:-29090}
WEIR_ORIGIN_PORT=${WEIR_ORIGIN_PORT:-28081}
COMPOSE_PROJECT_NAME=weir-test-$$
WEIR_IMAGE=weir:test-$$
WEIR_BUILD_TARGET=prebuilt
scratch=$(mktemp -d)
WEIR_TOKEN_FILE=$scratch/token
export WEIR_PORT WEIR_CONTROL_PORT WEIR_ORIGIN_PORT COMPOSE_PROJECT_NAME WEIR_IMAGE \
    WEIR_BUILD_TARGET WEIR_TOKEN_FILE
# Whoever runs this may have variables of a node of their own.
unset WEIR_ORIGIN WEIR_TOKEN WEIR_CONTROL

site=http://127.0.0.1:$WEIR_PORT
control=http://127.0.0.1:$WEIR_CONTROL_PORT
origin=http://127.0.0.1:$WEIR_ORIGIN_PORT
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi

clean_up() {
    local status=$?
    if ((status != 0)); then "${compose[@]}" logs --tail 40 >&2 || true; fi
    "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    docker image rm "$WEIR_IMAGE" >/dev/null 2>&1 || true
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT

fail() {
    echo "failed: $1" >&2
    exit 1
}

# until_true SECONDS WHAT COMMAND...: asks again until the command succeeds.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "$what did not come about in time"
        sleep 0.1
    done
}

# expect WHAT PATTERN TEXT: the text matches the extended regular expression.
expect() {
    grep -Eq "$2" <<<"$3" || fail "$1: expected $2, got: $3"
    echo "  ok  $1"
}

container() { "${compose[@]}" ps -q "$1"; }
state_of() { docker inspect -f "$2" "$(container "$1")"; }
# The status and Cache-Status of a GET through the node.
asked() {
    curl -s -m 20 -o /dev/null -D - "$site$1" | tr -d '\r' |
        sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p; s/^cache-status: //Ip' | paste -sd' '
}
healthy() { [[ $(state_of node '{{.State.Health.Status}}') == healthy ]]; }
answers() { curl -s -m 2 -o /dev/null "$1"; }

head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$WEIR_TOKEN_FILE"
token=$(cat "$WEIR_TOKEN_FILE")

"${compose[@]}" up -d --build >"$scratch/up.log" 2>&1 || { cat "$scratch/up.log" >&2; fail "up"; }
until_true 30 "a healthy node" healthy
until_true 30 "an origin that answers" answers "$origin/__sim/counters"

expect "a miss is fetched and stored" '^200 weir; fwd=uri-miss; fwd-status=200; ttl=600; stored$' "$(asked /articles/1)"
expect "then it is a hit" '^200 weir; hit; ttl=[0-9]+$' "$(asked /articles/1)"

expect "the node is hardened" '^65532:65532 true \[ALL\]' \
    "$(state_of node '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}')"

expect "control asks for a token" '^401$' \
    "$(curl -s -o /dev/null -w '%{http_code}' "$control/metrics")"
if dist/weir purge /articles/1 --control "$control" >/dev/null 2>&1; then
    fail "a purge without the token was done"
fi
expect "a purge with the token takes the response" '1 stored response$' \
    "$(WEIR_TOKEN=$token dist/weir purge /articles/1 --control "$control")"
expect "it is gone" '^200 weir; fwd=uri-miss; fwd-status=200; ttl=600; stored$' "$(asked /articles/1)"
expect "so does a purge from within the container" '1 stored response$' \
    "$(docker exec -e WEIR_TOKEN="$token" "$(container node)" weir purge /articles/1)"

# The origin goes away: what is stored and stale stands in for it, what is not stored is a 502.
asked /api/time >/dev/null
"${compose[@]}" kill origin >/dev/null 2>&1
stale() { [[ $(asked /api/time) =~ ^200\ weir\;\ fwd=stale\;\ ttl=-[0-9]+\;\ detail=origin-connect$ ]]; }
until_true 30 "a stale response in place of the origin" stale
echo "  ok  a stale response stands in for an origin that is gone"
expect "what is not stored is an honest error" '^50[24] weir; fwd=uri-miss; detail=origin-connect' \
    "$(asked /style.css)"
"${compose[@]}" start origin >/dev/null 2>&1
back() { [[ $(asked /style.css) =~ ^200 ]]; }
until_true 30 "an origin that is back" back
echo "  ok  the origin is used again once it is back"

"${compose[@]}" restart node >/dev/null 2>&1
until_true 30 "a healthy node after a restart" healthy
expect "a restarted node has an empty memory" '^200 weir; fwd=uri-miss;.*stored$' "$(asked /articles/1)"

# A drain: the request under way is answered whole, and the node ends by itself.
curl -sf -X PUT "$origin/__sim/route?path=/slow" -d '{"body": "whole", "held": true}' >/dev/null
curl -s -m 60 "$site/slow" >"$scratch/slow" &
slow=$!
running() { curl -s "$origin/__sim/counters?path=/slow" | grep '"running":1' >/dev/null; }
until_true 20 "a request under way" running
node=$(container node)
"${compose[@]}" stop node >/dev/null 2>&1 &
stop=$!
stopping() { docker logs "$node" 2>&1 | grep stopping >/dev/null; }
until_true 20 "a node that stops" stopping
[[ $(docker inspect -f '{{.State.Running}}' "$node") == true ]] || fail "the node did not wait"
curl -sf -X POST "$origin/__sim/release?path=/slow" >/dev/null
wait "$slow" || fail "the request under way was cut off"
wait "$stop"
expect "a stopping node finishes what is under way" '^whole$' "$(cat "$scratch/slow")"
expect "and ends by itself" '^false 0$' \
    "$(docker inspect -f '{{.State.Running}} {{.State.ExitCode}}' "$node")"
