#!/usr/bin/env bash
# Real application servers (gunicorn, waitress, gRPC) behind the program as it is built, asked by an
# HTTP/2 client over TLS, through one node and through an edge and a parent: the application has to
# read what the client sent. Needs Python 3 with venv, and PyPI to install the servers from.
#
# tests/applications.sh PROGRAM
set -euo pipefail

[[ $# == 1 && -x $1 ]] || { echo "usage: tests/applications.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
cd "$(dirname "$0")/applications"

# Whoever runs this may have nodes or servers that are configured by variables.
for name in $(compgen -e | grep -E '^(WEIR|GUNICORN|HTTPX|SSL|WEB_CONCURRENCY)' || true); do unset "$name"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r requirements.txt
# What is on this machine needs no proxy.
NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    "$scratch/venv/bin/python" applications.py "$program" "$scratch"
