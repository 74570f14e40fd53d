# shellcheck shell=bash
# weir with its default configuration, but for one worker and memory enough. "before" is a weir of another build.

weir_config() {
  cat >"$2/config" <<END2
[node]
listen = "127.0.0.1:$CLEAR_PORT"
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[memory]
size = "4GiB"
[log]
level = "error"
[tls]
listen = "127.0.0.1:$TLS_PORT"
[[tls.certificates]]
chain = "$SCRATCH/chain.pem"
key = "$SCRATCH/key.pem"
[[site]]
origins = ["http://127.0.0.1:$ORIGIN_PORT"]
END2
  COMMAND=("$WEIR" serve --config "$2/config")
}

weir_is_ready() { true; }
# One listener finds out which protocol is spoken.
weir_h2c_port() { echo "$CLEAR_PORT"; }
weir_cannot() { false; }
weir_version() { version_of "$WEIR" weir; }

# version_of FILE NAME: the version, and the commit where the program knows it.
version_of() {
  "$1" --version | awk -v name="$2" 'NR == 1 { print name, $2 ($4 ? " " $4 : "") } $1 == "commit" { print "commit", $2 }' |
    paste -sd' '
}

# Takes everything out of the store and waits until its memory is free: a full store would decide whether
# a response that was asked for once is stored at all.
weir_empty() {
  curl --silent --fail --output /dev/null "http://127.0.0.1:$ADMIN_PORT/v1/purges" \
    --json '{"all": true}' || return 1
  until_true 'weir does not free what was purged' "$DIR/output" weir_is_empty
}

weir_is_empty() {
  curl --silent --fail "http://127.0.0.1:$ADMIN_PORT/metrics" |
    awk '$1 ~ /^weir_store_bytes/ { bytes += $2 } END { exit !(bytes < 1048576) }'
}

before_config() {
  weir_config "$@"
  COMMAND[0]=$BEFORE
}
before_is_ready() { true; }
before_h2c_port() { weir_h2c_port; }
before_cannot() { false; }
before_version() { version_of "$BEFORE" 'weir before'; }
before_empty() { weir_empty; }
