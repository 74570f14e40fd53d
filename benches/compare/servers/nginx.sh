# shellcheck shell=bash
# nginx with its cache in files, in memory if /dev/shm exists. "nginx_sendfile" is the same with sendfile; the
# better of the two counts. tcp_nopush pays where head and body share a packet and costs where they do not.

nginx_config() {
  nginx_with off off "$@"
}

nginx_sendfile_config() {
  local nopush=on
  [[ $1 != *-1m ]] || nopush=off
  nginx_with on "$nopush" "$@"
}

# The cache manager, which keeps the cache within its size, is a process of its own; valgrind follows one
# process only.
nginx_with() {
  local sendfile=$1 nopush=$2 case=$3 dir=$4 processes=on
  [[ $case != instructions ]] || processes=off
  cat >"$dir/config" <<END2
daemon off;
master_process $processes;
worker_processes 1;
user $(id -un) $(id -gn);
worker_rlimit_nofile 250000;
pid $dir/pid;
error_log $dir/error.log error;
events { worker_connections 16384; multi_accept on; }
http {
  access_log off;
  sendfile $sendfile;
  tcp_nopush $nopush;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  http2_max_requests 1000000000;
  output_buffers 2 128k;
  open_file_cache max=$([[ $case == zipf ]] && echo 120000 || echo 10000) inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  proxy_cache_path $dir/cache levels=1:2 keys_zone=all:256m max_size=$(store_mib "$case")m inactive=1d
                   use_temp_path=off;
  upstream origin { server 127.0.0.1:$ORIGIN_PORT; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$CLEAR_PORT backlog=8192;
    listen 127.0.0.1:$TLS_PORT ssl http2 backlog=8192;
    listen 127.0.0.1:$H2C_PORT http2 backlog=8192;
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
END2
  COMMAND=(nginx -p "$dir" -c "$dir/config" -e "$dir/error.log")
}

nginx_is_ready() { true; }
nginx_h2c_port() { echo "$H2C_PORT"; }
nginx_cannot() { false; }
nginx_version() { nginx -v 2>&1 | sed 's#.*nginx/#nginx #'; }
nginx_empty() { true; }
# Bytes of its files.
nginx_files() { du --summarize --bytes "$1/cache" | cut -f1; }

nginx_sendfile_is_ready() { true; }
nginx_sendfile_h2c_port() { echo "$H2C_PORT"; }
nginx_sendfile_empty() { true; }

# Where sendfile can matter: bodies from the cache in the clear. Everywhere else the two would be the same.
nginx_sendfile_cannot() {
  case $1 in
    hit-* | h2c-* | range) false ;;
  esac
}
