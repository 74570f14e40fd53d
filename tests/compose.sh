#!/usr/bin/env bash
# docker-compose.yml on a real engine, as a user brings it up: healthy in time, two tiers, purges; then
# its containers are killed, paused, cut off and stopped, one part a file in tests/compose/. With "ha", the
# same with three processes of control that share their log in etcd (Debian: etcd-server, etcd-client).
# Needs an engine, compose (v1 or v2), curl, python3, nsenter and iptables as root, and binaries in dist/
# (deploy/prebuilt). Leaves nothing behind.
#
#   tests/compose.sh [ha] [FIRST-PORT]
set -euo pipefail
cd "$(dirname "$0")/.."

# Whoever runs this may have variables of a topology of their own.
for name in $(compgen -e | grep '^WEIR_' || true); do unset "$name"; done
shares=
if [[ ${1:-} == ha ]]; then shares=1 && shift; fi
ports=${1:-28080}
WEIR_ORIGIN_PORT=$ports
WEIR_EU_WEST_PORT=$((ports + 1))
WEIR_EU_NORTH_PORT=$((ports + 2))
WEIR_US_EAST_PORT=$((ports + 3))
WEIR_ASIA_SE_PORT=$((ports + 4))
WEIR_CONTROL_PORT=$((ports + 5))
WEIR_GIVEN_PORT=$((ports + 6))
WEIR_CONTROL_2_PORT=$((ports + 7))
WEIR_CONTROL_3_PORT=$((ports + 8))
COMPOSE_PROJECT_NAME=weir-test-$$
WEIR_IMAGE=weir:test-$$
WEIR_BUILD_TARGET=prebuilt
WEIR_ETCD_IMAGE=weir-etcd:test-$$
export WEIR_CONTROL_2_PORT WEIR_CONTROL_3_PORT WEIR_ETCD_IMAGE
export WEIR_ORIGIN_PORT WEIR_EU_WEST_PORT WEIR_EU_NORTH_PORT WEIR_US_EAST_PORT WEIR_ASIA_SE_PORT \
    WEIR_CONTROL_PORT COMPOSE_PROJECT_NAME WEIR_IMAGE WEIR_BUILD_TARGET

scratch=$(mktemp -d)
control=http://127.0.0.1:$WEIR_CONTROL_PORT
origin=http://127.0.0.1:$WEIR_ORIGIN_PORT
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
if [[ -n $shares ]]; then compose+=(--env-file deploy/compose/ha.env); fi
# shellcheck source=tests/compose/lib.sh
. tests/compose/lib.sh

clean_up() {
    local status=$? job
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    if ((status != 0)); then "${compose[@]}" logs --tail 40 >&2 || true; fi
    local project
    for project in "$COMPOSE_PROJECT_NAME" "$COMPOSE_PROJECT_NAME-given"; do
        COMPOSE_PROJECT_NAME=$project "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    done
    docker image rm "$WEIR_IMAGE" "$WEIR_ETCD_IMAGE" >/dev/null 2>&1 || true
    as_root rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT

quietly() { "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; fail "$*"; }; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

quietly "${compose[@]}" --profile observability config
ok "docker-compose.yml is right, with monitoring too"
quietly "${compose[@]}" build
if [[ -n $shares ]]; then quietly deploy/etcd-image "$WEIR_ETCD_IMAGE"; fi
begin=$(milliseconds)
quietly "${compose[@]}" up -d
wait=30
if [[ -n $shares ]]; then wait=90; fi
until_true "$wait" "a healthy topology" healthy control "${parents[@]}" "${edges[@]}"
if [[ -n $shares ]]; then until_true 60 "healthy controls" healthy control control-2 control-3 etcd-1 etcd-2 etcd-3; fi
took=$(($(milliseconds) - begin))
ok "the topology is healthy after $took ms"
[[ -n $shares ]] || ((took < 30000)) || fail "that is over 30 s"
token=$("${compose[@]}" exec -T control weir token)

parts=(topology edges parents control ends relays given)
if [[ -n $shares ]]; then parts=(ha); fi
for part in "${parts[@]}"; do
    begin=$SECONDS
    # shellcheck source=/dev/null
    . "tests/compose/$part.sh"
    echo "  --  $part: $((SECONDS - begin)) s"
done
