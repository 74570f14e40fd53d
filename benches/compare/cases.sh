# shellcheck shell=bash
# What is measured: each case by its name, what it asks for, and how it proves that it measured that.

CASES=(hit-1k hit-32k hit-1m 304 range zipf active idle
  h2c-1k h2c-32k h2c-1m tls-1k tls-32k tls-1m h2-1k h2-32k h2-1m
  miss-1k miss-100k post latency rate instructions memory)

# URLs of the cases zipf and memory, and those that fill a store before misses are measured.
KEYS=100000
FILL_1K=150000
FILL_100K=15000

title() {
  case $1 in
    hit-*) echo "$(size_of "$1"), HTTP/1.1 in the clear" ;;
    304) echo "304 to If-None-Match" ;;
    range) echo "range, 1 KB of 1 MB" ;;
    zipf) echo "1 KB, 100,000 keys by Zipf 0.9" ;;
    active) echo "1 KB, 5,000 active connections" ;;
    idle) echo "1 KB, 64 active beside 1,000 idle connections" ;;
    h2c-*) echo "$(size_of "$1"), HTTP/2 in the clear" ;;
    tls-*) echo "$(size_of "$1"), HTTP/1.1 over TLS" ;;
    h2-*) echo "$(size_of "$1"), HTTP/2 over TLS" ;;
    miss-*) echo "stored miss, $(size_of "$1")" ;;
    post) echo "POST of 1 KB, passed through" ;;
    latency) echo "1 KB on one connection, p50 in us" ;;
    rate-p50) echo "1 KB at $RATE a second, p50 in us" ;;
    rate-p99) echo "1 KB at $RATE a second, p99 in us" ;;
    instructions) echo "user instructions of a 1 KB hit" ;;
    memory) echo "memory of a stored response of 1 KB, bytes" ;;
    stored) echo "RSS of a stored response of 1 KB (weir-bars memory), bytes" ;;
    waiting) echo "RSS of a waiting request (weir-bars costs waiting), bytes" ;;
  esac
}

size_of() {
  case $1 in
    *-1m) echo '1 MB' ;;
    *) echo "$(sed 's/.*-//; s/k$//' <<<"$1") KB" ;;
  esac
}

# What one case needs: the protocol, what is asked for on how many connections, and the status and bytes that
# the answer has.
plan() {
  PROTOCOL=h1 CONNECTIONS=64 TARGET=/1k HEADERS=() EXPECTED='200 1024'
  case $1 in
    *-32k) TARGET=/32k EXPECTED='200 32768' ;;
    *-1m) TARGET=/1m EXPECTED='200 1048576' ;;
    miss-100k) TARGET=/100k EXPECTED='200 102400' ;;
    304) EXPECTED='304 0' ;;
    range) TARGET=/1m HEADERS=(-H 'Range: bytes=500000-501023') EXPECTED='206 1024' ;;
    post) TARGET=/post ;;
    active) CONNECTIONS=5000 ;;
    latency) CONNECTIONS=1 ;;
  esac
  case $1 in
    h2c-* | h2-* | tls-*) PROTOCOL=${1%%-*} ;;
    miss-* | post) CONNECTIONS=32 ;;
  esac
}

# run_case SERVER CASE: one run of one server. Sets $FIGURE by row of the table, and $BUSY where that is of interest. Sets
# $WRONG and fails where there is no figure.
declare -A FIGURE=()
run_case() {
  local server=$1 case=$2
  WRONG=
  plan "$case"
  [[ $case == instructions ]] || start "$server" "$case"
  case $case in
    instructions) run_instructions "$server" ;;
    zipf) run_zipf ;;
    miss-*) run_miss ;;
    post) run_post ;;
    idle) hold_idle && run_hits && { idle_are_open || { WRONG='idle connections were closed'; false; }; } ;;
    memory) run_memory ;;
    *) run_hits ;;
  esac
}

end_case() {
  release_idle
  stop
}

load_of() {
  case $CASE in
    rate) rate_load "$1" ;;
    304) validation_load "$1" ;;
    h2-* | h2c-*) h2_load "$1" ;;
    *) wrk_load "$1" ;;
  esac
}

# One answer, as asked for, has the status and the bytes that the case is about.
answers_as_expected() {
  local got arguments=(--silent --insecure --output /dev/null --write-out '%{http_code} %{size_download}')
  case $PROTOCOL in
    h2c) arguments+=(--http2-prior-knowledge) ;;
    h2) arguments+=(--http2) ;;
    *) arguments+=(--http1.1) ;;
  esac
  got=$(curl "${arguments[@]}" "${HEADERS[@]}" "$(url "$PROTOCOL")$TARGET") || true
  [[ $got == "$EXPECTED" ]] || { WRONG="answered $got instead of $EXPECTED"; return 1; }
}

run_hits() {
  if [[ $CASE == 304 ]]; then
    local etag
    etag=$(curl --silent --head "$(url h1)$TARGET" | tr -d '\r' | awk 'tolower($1) == "etag:" { print $2 }')
    HEADERS=(-H "If-None-Match: $etag")
  fi
  # The whole body is stored before a part of it is asked for.
  curl --silent --output /dev/null "$(url h1)$TARGET"
  answers_as_expected && load_of $((CONNECTIONS > 1000 ? 3 : 1)) && counted load_of "$SECONDS_EACH" && are_hits && answers_as_expected || return 1
  case $CASE in
    latency) FIGURE[latency]=$P50_US BUSY= ;;
    rate) FIGURE[rate-p50]=$P50_US FIGURE[rate-p99]=$P99_US BUSY= ;;
    *) FIGURE[$CASE]=$PER_CPU_SECOND ;;
  esac
}

# Fewer than one request in a thousand reached the origin.
are_hits() {
  ((ASKED * 1000 <= REQUESTS)) || { WRONG="$ASKED of $REQUESTS requests reached the origin"; return 1; }
}

reached_origin() {
  ((ASKED >= REQUESTS)) || { WRONG="only $ASKED of $REQUESTS requests reached the origin"; return 1; }
}

zipf_load() {
  PREFIX=/1k/key/ COUNT=$KEYS wrk_load "$1" -s "$HERE/zipf.lua"
}

run_zipf() {
  fill /1k/key/ "$KEYS" && zipf_load 2 && counted zipf_load "$SECONDS_EACH" && are_hits || return 1
  FIGURE[$CASE]=$PER_CPU_SECOND
}

miss_load() {
  PREFIX=$1 wrk_load "$2" -s "$HERE/miss.lua"
}

# The store is filled first, so that misses use memory that was used before.
run_miss() {
  local count=$FILL_1K
  [[ $CASE == miss-1k ]] || count=$FILL_100K
  fill "$TARGET/fill/" "$count" && "${NAME}_empty" && miss_load "$TARGET/warm/" 1 || return 1
  counted miss_load "$TARGET/new/" "$SECONDS_EACH" && reached_origin && are_stored || return 1
  FIGURE[$CASE]=$PER_CPU_SECOND
}

# Of a hundred of the last misses, at least 95 are hits now.
are_stored() {
  local last=$((ASKED - 100)) asked
  asked
  asked=$ASKED_NOW
  curl --silent --output /dev/null "$(url h1)$TARGET/new/[$((last - 99))-$last]"
  asked
  ((ASKED_NOW - asked <= 5)) || { WRONG="$((ASKED_NOW - asked)) of 100 misses were not stored"; return 1; }
}

post_load() {
  wrk_load "$1" -s "$HERE/post.lua"
}

run_post() {
  post_load 1 && counted post_load "$SECONDS_EACH" && reached_origin || return 1
  FIGURE[$CASE]=$PER_CPU_SECOND
}

# What each of 100,000 stored responses of 1 KB takes, beside what the first few thousand made once.
run_memory() {
  local before
  fill /1k/first/ 5000 || return 1
  read_rss
  before=$RSS
  fill /1k/key/ "$KEYS" || return 1
  read_rss
  FIGURE[memory]=$(((RSS - before) / KEYS))
}

# bytes_each NAME ARGUMENTS...: the RSS that weir-bars finds for each, kept as the figure of weir in case NAME. All
# of its other checks must hold.
bytes_each() {
  local name=$1 out each
  shift
  out=$("$BARS" --weir "$WEIR" --origin-sim "$ORIGIN_SIM" "$@" 2>&1) || true
  printf '%s\n' "$out" >&2
  each=$(sed -n 's/.*bytes of RSS each.*: \([0-9]*\) (must be .*/\1/p' <<<"$out")
  if grep -v 'bytes of RSS each' <<<"$out" | grep -qi '^failed' || [[ -z $each ]]; then
    each=none
  fi
  keep "$name" weir "$each"
}
