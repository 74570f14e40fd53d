#!/usr/bin/env bash
# deploy/kubernetes: each object by the schema of several versions of Kubernetes, and all of them held
# against each other. Needs Python 3 with venv, and PyPI to install the schemas from.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q --disable-pip-version-check --no-deps \
    -r tests/kubernetes/requirements.txt
"$scratch/venv/bin/python" tests/kubernetes/check.py deploy/kubernetes
if command -v kustomize >/dev/null; then
    for folder in base daemonset ha relays; do kustomize build "deploy/kubernetes/$folder" >/dev/null; done
    echo "and kustomize builds them"
fi
