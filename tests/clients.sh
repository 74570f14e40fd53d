#!/usr/bin/env bash
# The purge clients of Cloudflare, Fastly and CloudFront, and curl, against the program as it is
# built, with nothing but the base URL changed: each purge has to take what it names, and nothing
# else. Needs Python 3 with venv, curl, and PyPI to install the clients from.
#
# tests/clients.sh PROGRAM
set -euo pipefail

[[ $# == 1 && -x $1 ]] || { echo "usage: tests/clients.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
cd "$(dirname "$0")/clients"

# Whoever runs this may have a node, or accounts elsewhere, that are configured by variables.
for name in $(compgen -e | grep -E '^(WEIR|AWS|CLOUDFLARE|FASTLY)_' || true); do unset "$name"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r requirements.txt
# No configuration file of an account is read either, and what is on this machine needs no proxy.
NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true \
    "$scratch/venv/bin/python" clients.py "$program"
