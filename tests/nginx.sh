#!/usr/bin/env bash
# Debian's nginx with its defaults: as an origin, whose redirects must not lead past weir, and as the TLS proxy
# in front of control that docs/running.md describes. Needs nginx, openssl and curl.
#
# tests/nginx.sh PROGRAM
set -euo pipefail

[[ $# == 1 && -x $1 ]] || { echo "usage: tests/nginx.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
docs=$(realpath "$(dirname "$0")/../docs/running.md")
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || { echo "nginx is not installed" >&2; exit 1; }
for name in $(compgen -e | grep -E '^WEIR' || true); do unset "$name"; done
export no_proxy=127.0.0.1,shop.example

scratch=$(mktemp -d)
# Workers of nginx have no rights of their own.
chmod 711 "$scratch"
running=()
finish() {
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
}
trap finish EXIT

fail() { echo "failed: $*" >&2; cat "$scratch"/*.log >&2; exit 1; }

# nginx cannot choose its own.
read -r web secure control < <(python3 "$(dirname "$0")/ports.py" 3)

# A line of a log within 20 s.
awaited() {
    for _ in {1..200}; do
        grep -oE -m1 "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    fail "$1 does not say $2"
}

start_nginx() {
    mkdir -p "$scratch/$1"
    { echo "daemon off; pid $scratch/$1/pid; error_log $scratch/$1.log;"
      echo "events {} http { access_log off;"
      for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $scratch/$1/$kind;"; done
      cat; echo "}"; } > "$scratch/$1.conf"
    "$nginx" -q -t -c "$scratch/$1.conf" -e "$scratch/$1.log" || fail "nginx refuses $1.conf"
    "$nginx" -c "$scratch/$1.conf" -e "$scratch/$1.log" & running+=($!)
    for _ in {1..200}; do [[ -s $scratch/$1/pid ]] && return; sleep 0.1; done
    fail "nginx does not start"
}

# The origin.
mkdir -p "$scratch/www/guide"
echo guide > "$scratch/www/guide/index.html"
start_nginx origin <<CONF
server { listen 127.0.0.1:$web default_server; root $scratch/www; server_name _;
         location / { try_files \$uri \$uri/ =404; } }
CONF
"$program" serve --origin "http://127.0.0.1:$web" --listen 127.0.0.1:0 --admin 127.0.0.1:0 \
    2> "$scratch/node.log" & running+=($!)
node=$(awaited "$scratch/node.log" 'listen +http://[0-9.:]+' | grep -oE '[0-9.]+:[0-9]+')
for host in "$node" shop.example shop.example:8080; do
    for _ in 1 2; do
        head=$(curl -s -D - -o /dev/null -H "Host: $host" "http://$node/guide" | tr -d '\r')
        grep -qx 'HTTP/1.1 301 Moved Permanently' <<< "$head" || fail "$host: $head"
        grep -qix 'location: /guide/' <<< "$head" || fail "$host: $head"
    done
    [[ $(curl -sL -H "Host: $host" --connect-to "::$node" "http://$node/guide") == guide ]] \
        || fail "$host: the redirect leads elsewhere"
done
echo "  ok  redirects of nginx stay with the visitor"

# The TLS proxy of the guide.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=control \
    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout "$scratch/control.key" -out "$scratch/control.pem" 2> /dev/null
# Not in a pipe: what a subshell starts would not be stopped.
start_nginx proxy < <(sed -n '/^```nginx$/,/^```$/p' "$docs" | grep -v '^```' | sed \
    -e "s#listen 443#listen 127.0.0.1:$secure#; s#/etc/nginx/#$scratch/#; s#127.0.0.1:9090#127.0.0.1:$control#")
cat > "$scratch/control.toml" <<CONF
[control]
data = "$scratch/data"
[[token]]
name = "nodes"
secret = "nnnnnnnnnnnnnnnn"
scopes = ["node"]
[[token]]
name = "operator"
secret = "aaaaaaaaaaaaaaaa"
scopes = ["purge", "read", "admin"]
CONF
cat > "$scratch/far.toml" <<CONF
[node]
name = "far"
[control]
url = "https://127.0.0.1:$secure"
token = "nnnnnnnnnnnnnnnn"
ca = "$scratch/control.pem"
[[site]]
origins = ["http://127.0.0.1:$web"]
CONF
"$program" control --listen "127.0.0.1:$control" --config "$scratch/control.toml" \
    2> "$scratch/control.log" & running+=($!)
awaited "$scratch/control.log" 'control +http' > /dev/null
"$program" serve --config "$scratch/far.toml" --listen 127.0.0.1:0 --admin 127.0.0.1:0 \
    2> "$scratch/far.log" & running+=($!)
export WEIR_CONTROL=https://127.0.0.1:$secure WEIR_CA=$scratch/control.pem WEIR_TOKEN=aaaaaaaaaaaaaaaa
for _ in {1..200}; do
    nodes=$("$program" nodes 2>&1 || true)
    grep -q 'far .*connected' <<< "$nodes" && break
    sleep 0.1
done
grep -q 'far .*connected' <<< "$nodes" || fail "$nodes"
purged=$("$program" purge /guide) || fail "$purged"
grep -q '^status  completed' <<< "$purged" || fail "$purged"
echo "  ok  nodes and commands reach control behind nginx"
