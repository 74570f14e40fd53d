# shellcheck shell=bash
# HAProxy. Its cache keeps objects for a minute by default; here, for a day.

haproxy_config() {
  cat >"$2/config" <<END2
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 5m
  timeout server 1m
  option http-keep-alive
cache all
  total-max-size $(($(store_mib "$1") - 1))
  max-object-size 8000000
  max-age 86400
frontend clients
  bind 127.0.0.1:$CLEAR_PORT backlog 8192
  bind 127.0.0.1:$TLS_PORT ssl crt $SCRATCH/both.pem alpn h2,http/1.1 backlog 8192
  bind 127.0.0.1:$H2C_PORT proto h2 backlog 8192
  http-request cache-use all
  http-response cache-store all
  default_backend origin
backend origin
  http-reuse always
  server origin 127.0.0.1:$ORIGIN_PORT
END2
  COMMAND=(haproxy -db -q -f "$2/config")
}

haproxy_is_ready() { true; }
haproxy_h2c_port() { echo "$H2C_PORT"; }
haproxy_version() { haproxy -v | awk 'NR == 1 { sub(/-.*/, "", $3); print "HAProxy", $3 }'; }
haproxy_empty() { true; }

# It answers a Range with the whole body, and takes all of its cache's memory at the start.
haproxy_cannot() {
  [[ $1 == range || $1 == memory ]]
}
