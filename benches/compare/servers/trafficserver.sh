# shellcheck shell=bash
# Apache Traffic Server: one thread for requests, all of the cache in memory as well, and the cache's file in memory
# if /dev/shm exists.

trafficserver_config() {
  local dir=$2 size
  size=$(($(store_mib "$1") * 1048576))
  mkdir "$dir"/{config,cache,log,run,data}
  cat >"$dir/runroot.yaml" <<END2
prefix: $dir
exec_prefix: $dir
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: $dir/config
datadir: $dir/data
includedir: $dir/data
libdir: /usr/lib/trafficserver/modules
libexecdir: /usr/lib/trafficserver/modules
localstatedir: $dir/run
runtimedir: $dir/run
logdir: $dir/log
cachedir: $dir/cache
END2
  cat >"$dir/config/records.config" <<END2
CONFIG proxy.config.http.server_ports STRING $CLEAR_PORT:proto=http;http2 $TLS_PORT:ssl
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.cache.threads_per_disk INT 1
CONFIG proxy.config.cache.ram_cache.size INT $size
CONFIG proxy.config.cache.min_average_object_size INT 1500
CONFIG proxy.config.net.listen_backlog INT 8192
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.ssl.server.cert.path STRING $dir/config
CONFIG proxy.config.ssl.server.private_key.path STRING $dir/config
CONFIG proxy.config.admin.user_id STRING trafficserver
CONFIG proxy.config.crash_log_helper STRING NULL
END2
  echo "map / http://127.0.0.1:$ORIGIN_PORT/" >"$dir/config/remap.config"
  echo "$dir/cache $size" >"$dir/config/storage.config"
  echo 'dest_ip=* ssl_cert_name=both.pem' >"$dir/config/ssl_multicert.config"
  cat >"$dir/config/ip_allow.yaml" <<'END2'
ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
END2
  cp "$SCRATCH/both.pem" "$dir/config/"
  # Started by root it becomes that user; started by another, it stays who it is.
  ((EUID != 0)) || chown -R trafficserver "$dir"
  COMMAND=(traffic_server "--run-root=$dir/runroot.yaml")
}

# It listens before its cache is there, and answers without it then.
trafficserver_is_ready() {
  grep -q 'cache enabled' "$1/log/diags.log"
}

trafficserver_h2c_port() { echo "$CLEAR_PORT"; }
trafficserver_version() { traffic_server --version 2>/dev/null | awk 'NR == 1 { print "Traffic Server", $3 }'; }
trafficserver_empty() { true; }
trafficserver_cannot() { false; }
