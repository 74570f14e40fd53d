#!/usr/bin/env bash
# The recipes in docs/recipes, followed with real software: Debian's packages, and PyPI's at the versions in
# tests/real/requirements.txt. Each script takes its configuration from the recipe's code blocks. What cannot be
# installed or is missing is a failure. Needs the packages that .ci/run installs for it, and Python 3 with venv.
#
# WordPress, MediaWiki and Django are also visited by a crowd, which sends --requests requests (1000).
#
# tests/real.sh PROGRAM [--requests NUMBER] [NAME...]
set -euo pipefail

[[ $# -ge 1 && -x $1 ]] || { echo "usage: tests/real.sh PROGRAM [--requests NUMBER] [NAME...]" >&2; exit 2; }
program=$(realpath "$1")
shift
cd "$(dirname "$0")"

# Whoever runs this may have software that is configured by variables, pip for one until it has installed.
configured='^(WEIR|DJANGO|WAGTAIL|GUNICORN|WEB_CONCURRENCY|PIP|APT|MW|REGISTRY|GRPC|SSL)|_(proxy|PROXY)$'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Daemons that drop their rights read below it, and have temporary files.
chmod 755 "$scratch"
mkdir -m 1777 "$scratch/tmp"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r real/requirements.txt
for name in $(compgen -e | grep -E "$configured" || true); do unset "$name"; done

# In a network of its own, which root can make: all that these programs may reach is each other.
alone=(unshare --net)
if ! "${alone[@]}" ip link set lo up; then
    echo "no network of its own can be made here: in that of the machine"
    alone=(env)
fi
PYTHONDONTWRITEBYTECODE=1 HOME="$scratch/tmp" TMPDIR="$scratch/tmp" \
    PATH="$scratch/venv/bin:$PATH" "${alone[@]}" bash -c '
    [[ $1 == env ]] || ip link set lo up
    exec "${@:2}"
' bash "${alone[0]}" python -m real "$program" "$scratch" "$@"
