#!/usr/bin/env bash
# Compression with the software of others: curl and Chromium as clients, Debian's nginx as an origin that does not
# compress, as one that does, as one that has compressed files alone, and as a cache with gzip beside weir. Needs
# nginx, curl with brotli and zstd, chromium and gzip.
#
# tests/compression.sh PROGRAM
set -euo pipefail

[[ $# == 1 && -x $1 ]] || { echo "usage: tests/compression.sh PROGRAM" >&2; exit 2; }
program=$(realpath "$1")
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || { echo "nginx is not installed" >&2; exit 1; }
chromium=$(command -v chromium) || { echo "chromium is not installed" >&2; exit 1; }
for name in $(compgen -e | grep -E '^WEIR' || true); do unset "$name"; done
export no_proxy=127.0.0.1

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
read -r plain own static beside < <(python3 "$(dirname "$0")/ports.py" 4)

mkdir -p "$scratch/www" "$scratch/packed"
{
    echo '<!doctype html><title>Compressed</title><ul>'
    for n in {1..1500}; do echo "<li>Line $n of a page that compresses well</li>"; done
    echo '</ul><script src="/app.js"></script>'
} > "$scratch/www/page.html"
echo "document.title = 'run'; /* $(printf 'x%.0s' {1..3000}) */" > "$scratch/www/app.js"
gzip -9 -k "$scratch/www/page.html" && mv "$scratch/www/page.html.gz" "$scratch/packed/page.html.gz"

mkdir -p "$scratch/nginx"
{
    echo "daemon off; pid $scratch/nginx/pid; error_log $scratch/nginx.log;"
    echo "events {} http { access_log off; include /etc/nginx/mime.types;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $scratch/nginx/$kind;"; done
    cat << CONF
proxy_cache_path $scratch/nginx/cache keys_zone=all:1m;
server { listen 127.0.0.1:$plain; root $scratch/www; add_header Cache-Control max-age=600; }
server { listen 127.0.0.1:$own; root $scratch/www; add_header Cache-Control max-age=600;
         gzip on; gzip_types text/javascript application/javascript; gzip_vary on; gzip_proxied any; }
server { listen 127.0.0.1:$static; root $scratch/packed; add_header Cache-Control max-age=600; gzip_static always; }
server { listen 127.0.0.1:$beside; gzip on; gzip_vary on; gzip_proxied any;
         location / { proxy_pass http://127.0.0.1:$plain; proxy_cache all; } }
}
CONF
} > "$scratch/nginx.conf"
"$nginx" -q -t -c "$scratch/nginx.conf" -e "$scratch/nginx.log" || fail "nginx refuses its configuration"
"$nginx" -c "$scratch/nginx.conf" -e "$scratch/nginx.log" & running+=($!)
for _ in {1..200}; do [[ -s $scratch/nginx/pid ]] && break; sleep 0.1; done
[[ -s $scratch/nginx/pid ]] || fail "nginx does not start"

# A node in front of an origin, and where it listens.
node() {
    printf '[[site]]\norigins = ["http://127.0.0.1:%s"]\ncompress = true\n' "$2" > "$scratch/$1.toml"
    "$program" serve --config "$scratch/$1.toml" --listen 127.0.0.1:0 --admin 127.0.0.1:0 \
        2> "$scratch/$1.log" & running+=($!)
    for _ in {1..200}; do
        listen=$(grep -oE -m1 'listen +http://[0-9.:]+' "$scratch/$1.log" | grep -oE '[0-9.]+:[0-9]+') && return
        sleep 0.1
    done
    fail "$1 does not start"
}

# Asks for a coding until it is there: the head is in $head, the decoded body in $scratch/body.
coded() {
    for _ in {1..200}; do
        curl -sS --compressed -H "Accept-Encoding: $3" -D "$scratch/head" -o "$scratch/body" "http://$1$2"
        head=$(tr -d '\r' < "$scratch/head")
        cmp -s "$scratch/body" "$scratch/www$2" || fail "$2 in $3 is not the page: $head"
        grep -qix "content-encoding: $4" <<< "$head" && return
        sleep 0.05
    done
    fail "$2 does not come in $4: $head"
}

length() { sed -n 's/^content-length: //Ip' <<< "$head"; }

node plain "$plain"
for coding in gzip br zstd; do
    coded "$listen" /page.html "$coding" "$coding"
    (($(length) * 5 < $(stat -c %s "$scratch/www/page.html"))) || fail "$coding: $head"
    grep -qix 'vary: accept-encoding' <<< "$head" || fail "$coding: $head"
    tag=$(sed -n 's/^etag: //Ip' <<< "$head")
    [[ $tag == *"-$coding\"" ]] || fail "$coding: $head"
    status=$(curl -sS -o /dev/null -w '%{http_code}' -H "Accept-Encoding: $coding" -H "If-None-Match: $tag" \
        "http://$listen/page.html")
    [[ $status == 304 ]] || fail "$coding: $status for $tag"
    curl -sS -I --compressed -H "Accept-Encoding: $coding" "http://$listen/page.html" | tr -d '\r' > "$scratch/headers"
    for field in etag content-length content-encoding vary; do
        [[ $(grep -i "^$field:" "$scratch/headers") == "$(grep -i "^$field:" <<< "$head")" ]] || fail "HEAD: $field"
    done
done
curl -sS "http://$listen/page.html" | cmp -s - "$scratch/www/page.html" || fail "without a coding"
curl -sS -r 100-199 -H 'Accept-Encoding: br' "http://$listen/page.html" \
    | cmp -s - <(tail -c +101 "$scratch/www/page.html" | head -c 100) || fail "a range is not of the original"
echo "  ok  curl reads gzip, br and zstd, validates each, and gets ranges of the original"

title=$("$chromium" --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/chromium" \
    --dump-dom "http://$listen/page.html" 2> "$scratch/chromium.err" | grep -oE '<title>[a-zA-Z]+' || true)
[[ $title == '<title>run' ]] || { cat "$scratch/chromium.err" >&2; fail "Chromium shows $title"; }
curl -sS -H 'Accept-Encoding: gzip' -D - -o /dev/null "http://$listen/app.js" | grep -qi 'cache-status: .*hit' \
    || fail "Chromium did not ask for the script"
echo "  ok  Chromium shows the page and runs its script"

curl -sS "http://127.0.0.1:$beside/page.html" > /dev/null
theirs=$(curl -sS -H 'Accept-Encoding: gzip' "http://127.0.0.1:$beside/page.html" | wc -c)
for coding in gzip br zstd; do
    coded "$listen" /page.html "$coding" "$coding"
    (($(length) <= theirs)) || fail "$coding: $(length) bytes, nginx's gzip $theirs"
done
echo "  ok  no coding is larger than nginx's gzip ($theirs bytes)"

node own "$own"
coded "$listen" /page.html gzip gzip
tag=$(sed -n 's/^etag: //Ip' <<< "$head")
[[ $tag == W/* ]] || fail "the origin's own coding was replaced: $head"
coded "$listen" /page.html 'br' br
curl -sS "http://$listen/page.html" | cmp -s - "$scratch/www/page.html" || fail "without a coding"
echo "  ok  what nginx compressed stays as it is, and br is added for who takes no gzip"

node static "$static"
for _ in 1 2; do
    curl -sS -D "$scratch/head" -o "$scratch/body" "http://$listen/page.html"
    cmp -s "$scratch/body" "$scratch/www/page.html" || fail "not decompressed: $(cat "$scratch/head")"
    ! grep -qi '^content-encoding:' "$scratch/head" || fail "$(cat "$scratch/head")"
done
coded "$listen" /page.html gzip gzip
echo "  ok  what nginx has in gzip alone is decompressed for a client that takes none"
