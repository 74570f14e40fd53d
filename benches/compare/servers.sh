# Starting and stopping what is compared. Each server is one worker or thread, pinned to
# $SERVER_CORE, its access log off, and stores what the origin sends for a day. Ports are fixed,
# offset by $PORTS, since the peers cannot choose their own.
#
# start NAME FORM   starts a server in the form that suits FORM: hit-1k, hit-32k, hit-1m or miss; and,
#                   for HTTP/2, h2-1k, h2-32k, h2-1m, and h2c-1k in the clear. Sets $PID, $URL and,
#                   where HTTP/2 is spoken, $H2_URL.
# stop              ends it.

PID=
URL=
H2_URL=

start() {
  local name=$1 form=$2 port=$((PORTS + 1)) dir=$SCRATCH/$1
  rm -rf "$dir"
  mkdir -p "$dir"
  "${name}_config" "$form" "$port" "$dir"
  "${name}_command" "$dir"
  taskset -c "$SERVER_CORE" ${PREFIX:-} "${COMMAND[@]}" >"$dir/log" 2>&1 &
  PID=$!
  URL=http://127.0.0.1:$port
  case $form in
    h2-*) H2_URL=https://127.0.0.1:$((PORTS + 3)) ;;
    # weir finds out on one listener which protocol is spoken.
    h2c-*) H2_URL=http://127.0.0.1:$([[ $name == weir* ]] && echo "$port" || echo $((PORTS + 4))) ;;
  esac
  until_answering "$URL/1k" "$name" "$dir/log"
}

stop() {
  [[ -n $PID ]] || return 0
  kill "$PID" 2>/dev/null || true
  wait "$PID" 2>/dev/null || true
  PID=
}

start_origin() {
  taskset -c "$LOAD_CORE" "$ORIGIN_SIM" --listen "127.0.0.1:$PORTS" --threads 1 --quiet \
    --keep-requests 0 --script "$HERE/origin.json" >"$SCRATCH/origin.log" 2>&1 &
  ORIGIN_PID=$!
  until_answering "http://127.0.0.1:$PORTS/1k" origin "$SCRATCH/origin.log"
}

# A certificate for TLS, of the kind that most sites have.
make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$SCRATCH/key.pem" -out "$SCRATCH/chain.pem" 2>"$SCRATCH/openssl.log"
  cat "$SCRATCH/chain.pem" "$SCRATCH/key.pem" >"$SCRATCH/both.pem"
}

until_answering() {
  local url=$1 name=$2 log=$3
  for _ in $(seq 300); do
    curl --silent --fail --output /dev/null "$url" && return
    sleep 0.1
  done
  echo "$name does not answer; it said:" >&2
  cat "$log" >&2
  exit 1
}

weir_config() {
  cat >"$3/config" <<END
[node]
listen = "127.0.0.1:$2"
admin = "127.0.0.1:$((PORTS + 2))"
workers = 1
[memory]
size = "4GiB"
[log]
level = "error"
[tls]
listen = "127.0.0.1:$((PORTS + 3))"
[[tls.certificates]]
chain = "$SCRATCH/chain.pem"
key = "$SCRATCH/key.pem"
[[site]]
origins = ["http://127.0.0.1:$PORTS"]
END
}

weir_command() {
  COMMAND=("$WEIR" serve --config "$1/config")
}

# Measured: small bodies are cheaper copied than sent with sendfile; tcp_nopush pays where head and
# body share a packet and costs where they do not.
nginx_config() {
  local sendfile=off nopush=off
  case $1 in
    hit-32k) sendfile=on nopush=on ;;
    hit-1m) sendfile=on ;;
  esac
  cat >"$3/config" <<END
daemon off;
master_process off;
worker_processes 1;
pid $3/pid;
error_log $3/error.log error;
events { worker_connections 4096; multi_accept on; }
http {
  access_log off;
  sendfile $sendfile;
  tcp_nopush $nopush;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  output_buffers 2 128k;
  open_file_cache max=10000 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path $3/body;
  proxy_temp_path $3/proxy;
  fastcgi_temp_path $3/fastcgi;
  uwsgi_temp_path $3/uwsgi;
  scgi_temp_path $3/scgi;
  proxy_cache_path $3/cache levels=1:2 keys_zone=all:256m max_size=8g inactive=1d
                   use_temp_path=off;
  upstream origin { server 127.0.0.1:$PORTS; keepalive 64; }
  server {
    listen 127.0.0.1:$2 backlog=4096;
    listen 127.0.0.1:$((PORTS + 3)) ssl http2;
    listen 127.0.0.1:$((PORTS + 4)) http2;
    ssl_certificate $SCRATCH/chain.pem;
    ssl_certificate_key $SCRATCH/key.pem;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache all;
      add_header X-Cache \$upstream_cache_status;
    }
  }
}
END
}

nginx_command() {
  COMMAND=(nginx -p "$1" -c "$1/config" -e "$1/error.log")
}

haproxy_config() {
  cat >"$3/config" <<END
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 5m
  timeout server 1m
  option http-keep-alive
cache all
  total-max-size 4095
  max-object-size 8000000
  max-age 86400
frontend clients
  bind 127.0.0.1:$2 backlog 4096
  bind 127.0.0.1:$((PORTS + 3)) ssl crt $SCRATCH/both.pem alpn h2,http/1.1
  bind 127.0.0.1:$((PORTS + 4)) proto h2
  http-request cache-use all
  http-response cache-store all
  default_backend origin
backend origin
  http-reuse always
  server origin 127.0.0.1:$PORTS
END
}

haproxy_command() {
  COMMAND=(haproxy -db -q -f "$1/config")
}
