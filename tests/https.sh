#!/usr/bin/env bash
# HTTPS by itself: a node that orders its certificates from Debian's pebble, a real ACME server, also while that is
# down, slow, at its limits or refuses a name. Needs pebble, openssl, curl, ip and Python 3; with chromium and certutil a
# browser opens the site, too.
#
# tests/https.sh WEIR [STEP...]
set -euo pipefail

[[ $# -ge 1 && -x $1 ]] || { echo "usage: tests/https.sh WEIR [STEP...]" >&2; exit 2; }
program=$(realpath "$1")
shift
cd "$(dirname "$0")"
for name in $(compgen -e | grep -E '^WEIR_' || true); do unset "$name"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# In a network of its own, where the ports of browsers are free.
alone=(unshare --net)
(($(id -u) == 0)) || alone+=(--map-root-user)
if ! "${alone[@]}" ip link set lo up; then
    echo "no network of its own can be made here: in that of the machine"
    alone=(env)
fi
NO_PROXY='*' no_proxy='*' PYTHONDONTWRITEBYTECODE=1 TMPDIR="$scratch" HOME="$scratch" \
    "${alone[@]}" bash -c '
        [[ $1 != alone ]] || ip link set lo up
        exec "${@:2}"
    ' bash "$([[ ${alone[0]} == env ]] || echo alone)" python3 https "$program" "$scratch" "$@"
