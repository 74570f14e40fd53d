#!/usr/bin/env bash
# The packages of deploy/package, as their users have them: the .deb on a clean Debian with a real systemd, in a
# container without a network: installed, run as a service in front of a site, upgraded under load, removed and
# purged, and serving by HTTPS with one command and certificates of pebble; the .rpm in a root of its own; the image on
# the engine. The .deb for another architecture serves in qemu, where dist/ has a binary for it. Needs an engine,
# debootstrap (once: the base of the container is kept as an image), debhelper, lintian, rpm, skopeo, zsh, fish, python3,
# pebble, openssl, curl, chromium, certutil, nsenter and root, and binaries in dist/ (deploy/prebuilt).
set -euo pipefail
cd "$(dirname "$0")/.."

for name in $(compgen -e | grep '^WEIR_' || true); do unset "$name"; done
scratch=$(mktemp -d)
machine=weir-package-$$ emulated_node=
# shellcheck source=tests/package/lib.sh
. tests/package/lib.sh

clean_up() {
    local status=$?
    if ((status != 0)) && running; then
        inside journalctl --no-pager -n 60 -u weir -u weir-control >&2 || true
    fi
    if [[ -n $emulated_node ]]; then kill "$emulated_node" 2>/dev/null || true; fi
    docker rm -f "$machine" "$machine-image" >/dev/null 2>&1 || true
    docker image rm "weir:test-$$" >/dev/null 2>&1 || true
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT

for part in built debian rpm https other image; do
    begin=$SECONDS
    # shellcheck source=/dev/null
    . "tests/package/$part.sh"
    echo "  --  $part: $((SECONDS - begin)) s"
done
