#!/usr/bin/env bash
# The page at control's address in a real browser: Chromium, headless, driven over real processes of
# the programs as they are built. Needs Python 3 with venv, chromium, ip, and PyPI to install the
# driver and axe-core from.
#
# tests/page.sh WEIR ORIGIN_SIM [--screenshots FOLDER]
set -euo pipefail

[[ $# -ge 2 && -x $1 && -x $2 ]] ||
    { echo "usage: tests/page.sh WEIR ORIGIN_SIM [--screenshots FOLDER]" >&2; exit 2; }
programs=("$(realpath "$1")" "$(realpath "$2")")
shift 2
options=()
if [[ ${1-} == --screenshots ]]; then options=(--screenshots "$(realpath "$2")"); fi
cd "$(dirname "$0")/page"

# Whoever runs this may have a node that is configured by variables.
for name in $(compgen -e | grep -E '^WEIR_' || true); do unset "$name"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r requirements.txt
# In a network of its own: there is nothing but loopback to ask, and a browser gives up what it loads
# when an interface comes or goes, as containers' do.
alone=(unshare --net)
(($(id -u) == 0)) || alone+=(--map-root-user)
if ! "${alone[@]}" ip link set lo up; then
    echo "no network of its own can be made here: in that of the machine"
    alone=(env)
fi
# What is on this machine needs no proxy; the browser's profile goes with the scratch folder.
NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR="$scratch" "${alone[@]}" bash -c '
        [[ $1 != alone ]] || ip link set lo up
        exec "${@:2}"
    ' bash "$([[ ${alone[0]} == env ]] || echo alone)" \
    "$scratch/venv/bin/python" page.py "${programs[@]}" "${options[@]}"
