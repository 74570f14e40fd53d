# shellcheck shell=bash
# Starting and stopping what is compared, and the origin behind it. Each server has one worker or thread, is
# pinned to $SERVER_CORE, writes no access log, and stores what the origin sends for a day. How each is configured
# is in servers/. Ports follow each other from $PORTS on, since most peers cannot choose their own.
#
# start NAME CASE   starts a server in the form that suits CASE. Sets $PID and $DIR.
# stop              ends it.
# url PROTOCOL      where it speaks h1 and h2c (in the clear), tls (HTTP/1.1) or h2 (HTTP/2 with TLS).

PID=
DIR=
NAME=
ORIGIN_PID=
ORIGIN_PORT=$PORTS
CLEAR_PORT=$((PORTS + 1))
ADMIN_PORT=$((PORTS + 2))
TLS_PORT=$((PORTS + 3))
H2C_PORT=$((PORTS + 4))
COUNT_PORT=$((PORTS + 5))

# MiB of the store of a peer. Where misses are stored it is small, so that it is soon full and memory is used again;
# valgrind takes long to start a HAProxy with a large one.
store_mib() {
  case $1 in
    miss-* | instructions) echo 128 ;;
    *) echo 1024 ;;
  esac
}

start() {
  NAME=$1
  DIR=$SCRATCH/$1
  rm -rf "$DIR"
  mkdir -p "$DIR"
  COMMAND=()
  "${NAME}_config" "$2" "$DIR"
  # shellcheck disable=SC2086 # a program with its arguments, or nothing
  taskset -c "$SERVER_CORE" ${PREFIX:-} "${COMMAND[@]}" >"$DIR/output" 2>&1 &
  PID=$!
  until_answering "http://127.0.0.1:$CLEAR_PORT/1k" "$NAME" "$DIR/output"
  until_true "$NAME is not ready" "$DIR/output" "${NAME}_is_ready" "$DIR"
}

stop() {
  [[ -n $PID ]] || return 0
  kill "$PID" 2>/dev/null || true
  wait "$PID" 2>/dev/null || true
  PID=
}

url() {
  case $1 in
    h1) echo "http://127.0.0.1:$CLEAR_PORT" ;;
    h2c) echo "http://127.0.0.1:$("${NAME}_h2c_port")" ;;
    *) echo "https://127.0.0.1:$TLS_PORT" ;;
  esac
}

# nginx answers from files that it keeps open, which takes less time than the servers before it need.
start_origin() {
  local dir=$SCRATCH/origin size
  mkdir -p "$dir/files"
  for size in 1 32 100 1024; do
    head -c $((size * 1024)) /dev/zero | tr '\0' 'x' >"$dir/files/$size"
  done
  : >"$dir/files/post"
  cat >"$dir/config" <<END2
daemon off;
master_process off;
pid $dir/pid;
error_log $dir/error.log error;
worker_rlimit_nofile 16384;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  open_file_cache max=100 inactive=1d;
  open_file_cache_valid 1d;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  types {}
  server {
    listen 127.0.0.1:$ORIGIN_PORT backlog=8192;
    root $dir/files;
    default_type image/png;
    add_header Cache-Control max-age=86400;
    location /1k { default_type "text/html; charset=utf-8"; try_files /1 =404; }
    location /32k { try_files /32 =404; }
    location /100k { sendfile on; try_files /100 =404; }
    location /1m { sendfile on; try_files /1024 =404; }
    # The answer waits for the whole body, as that of an application would; mirror is what reads it here.
    location /post {
      mirror /read;
      error_page 405 =200 @taken;
    }
    location @taken { add_header Cache-Control no-store; default_type text/plain; return 200 "taken\n"; }
    location = /read { internal; return 204; }
  }
  server {
    listen 127.0.0.1:$COUNT_PORT;
    location / { stub_status; }
  }
}
END2
  taskset -c "$LOAD_CORE" nginx -p "$dir" -c "$dir/config" -e "$dir/error.log" >"$dir/output" 2>&1 &
  ORIGIN_PID=$!
  until_answering "http://127.0.0.1:$ORIGIN_PORT/1k" 'the origin' "$dir/output"
}

# How many requests the origin has had, those for this number not counted.
asked() {
  local all
  all=$(curl --silent --fail "http://127.0.0.1:$COUNT_PORT/" | awk 'NR == 3 { print $3 }')
  COUNTS_READ=$((COUNTS_READ + 1))
  ASKED_NOW=$((all - COUNTS_READ))
}
COUNTS_READ=0
ASKED_NOW=0

# A certificate of the kind that most sites have.
make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$SCRATCH/key.pem" -out "$SCRATCH/chain.pem" 2>"$SCRATCH/openssl.log"
  cat "$SCRATCH/chain.pem" "$SCRATCH/key.pem" >"$SCRATCH/both.pem"
}

# until_true MESSAGE LOG COMMAND...: ends the comparison if it is not true within half a minute.
until_true() {
  local message=$1 log=$2
  shift 2
  for _ in $(seq 300); do
    "$@" && return
    sleep 0.1
  done
  echo "$message; it said:" >&2
  cat "$log" >&2
  exit 1
}

until_answering() {
  until_true "$2 does not answer" "$3" curl --silent --fail --output /dev/null "$1"
}
