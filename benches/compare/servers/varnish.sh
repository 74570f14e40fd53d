# shellcheck shell=bash
# Varnish: one pool of threads, which fits one core, with its threads made at the start; a store in memory; and no
# log, which it otherwise writes to memory.

varnish_config() {
  cat >"$2/config" <<END2
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "$ORIGIN_PORT"; }
END2
  COMMAND=(varnishd -F -j none -n "$2/work" -T none
    -a "127.0.0.1:$CLEAR_PORT" -f "$2/config" -s "malloc,$(store_mib "$1")m"
    -p thread_pools=1 -p thread_pool_min=200 -p thread_pool_max=5000 -p listen_depth=8192
    -p feature=+http2 -p "vsl_mask=$(varnish_mask)")
}

# All that it can log, left out.
varnish_mask() {
  varnishd -x vsl 2>/dev/null | awk '/^-+$/ { print "-" name } { name = $1 }' | paste -sd,
}

varnish_is_ready() { true; }
varnish_h2c_port() { echo "$CLEAR_PORT"; }
varnish_version() { varnishd -V 2>&1 | awk 'NR == 1 { sub(/.*varnish-/, ""); print "Varnish", $1 }'; }
varnish_empty() { true; }

# It has no TLS for clients.
varnish_cannot() {
  [[ $1 == tls-* || $1 == h2-* ]]
}
