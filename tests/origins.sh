#!/usr/bin/env bash
# Origins as they are: nginx that wants a client certificate, gunicorn on a Unix socket, names in dnsmasq whose
# addresses come and go under load, HAProxy and nginx with the PROXY protocol on both sides, and an S3 server that
# checks signatures. Needs nginx, haproxy, dnsmasq, openssl, Python 3 with venv, and PyPI.
#
# tests/origins.sh PROGRAM
set -euo pipefail

[[ $# == 1 && -x $1 ]] || { echo "usage: tests/origins.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin
for tool in nginx haproxy dnsmasq openssl python3; do
    command -v "$tool" > /dev/null || { echo "$tool is not installed" >&2; exit 1; }
done

# Whoever runs this may have a node, or an account, that is configured by variables.
for name in $(compgen -e | grep -E '^(WEIR|AWS)_' || true); do unset "$name"; done
export NO_PROXY='*' no_proxy='*'

scratch=$(mktemp -d)
# Workers of nginx have no rights of their own.
chmod 711 "$scratch"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check -r origins/requirements.txt
PYTHONDONTWRITEBYTECODE=1 AWS_CONFIG_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true \
    "$scratch/venv/bin/python" -m origins "$program" "$scratch"
