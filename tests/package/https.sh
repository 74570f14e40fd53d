# The .deb on a clean Debian: one command serves two names by HTTPS, with certificates of a real ACME server.
# shellcheck shell=bash disable=SC2154

quietly install "$next_deb"
pid=$(docker inspect -f '{{.State.Pid}}' "$machine")
# The CA, the origin and the clients, a browser among them, are programs of this machine in the container's network.
HOME=$scratch TMPDIR=$scratch PYTHONDONTWRITEBYTECODE=1 NO_PROXY='*' no_proxy='*' \
    quietly nsenter -t "$pid" -n python3 tests/package/https.py "$machine" "$scratch"
ok "one command serves by HTTPS, a browser trusts it, http redirects, and a renewal drops no connection"
quietly inside systemctl stop shop
quietly inside apt-get purge -y -q weir
