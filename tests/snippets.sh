#!/usr/bin/env bash
# The snippets of docs/coming-from.md: each of nginx's runs in nginx, the one of weir below it in weir, and both get
# the same requests in front of the same origin. Takes the snippets from the document. Needs nginx, openssl, Python 3.
#
# tests/snippets.sh PROGRAM [TITLE...]
set -euo pipefail

[[ $# -ge 1 && -x $1 ]] || { echo "usage: tests/snippets.sh PROGRAM [TITLE...]" >&2; exit 2; }
program=$(realpath "$1")
shift
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin
for tool in nginx openssl python3; do
    command -v "$tool" > /dev/null || { echo "$tool is not installed" >&2; exit 1; }
done

# Whoever runs this may have a node, or an account, that is configured by variables.
for name in $(compgen -e | grep -E '^(WEIR|AWS|NGINX)' || true); do unset "$name"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Workers of nginx have no rights of their own.
chmod 711 "$scratch"
PYTHONDONTWRITEBYTECODE=1 python3 -m snippets "$program" "$scratch" ../docs/coming-from.md "$@"
