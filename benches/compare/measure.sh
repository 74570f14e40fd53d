# Measuring a running server.

# CPU ticks (1/100 s) of the process $1 and its children: user and system time.
ticks() {
  local pid sum=0 fields
  for pid in $1 $(pgrep -P "$1" || true); do
    # The name in parentheses may hold spaces; utime and stime are the 14th and 15th field.
    fields=($(sed 's/.*) //' "/proc/$pid/stat"))
    sum=$((sum + fields[11] + fields[12]))
  done
  echo "$sum"
}

# load CONNECTIONS SECONDS PATH [wrk arguments]: sets $REQUESTS and $P50_US, and $PER_CPU_SECOND of
# the process $PID. Anything but complete answers with status 200 ends the comparison.
load() {
  local connections=$1 seconds=$2 path=$3 before after out
  shift 3
  before=$(ticks "$PID")
  out=$(taskset -c "$LOAD_CORE" wrk -t1 -c"$connections" -d"${seconds}s" --latency "$@" "$URL$path")
  after=$(ticks "$PID")
  if grep -E 'Non-2xx|Socket errors' <<<"$out" >&2; then
    echo "the answers of the server were not all good; no figure" >&2
    exit 1
  fi
  REQUESTS=$(awk '/requests in/ { print $1 }' <<<"$out")
  P50_US=$(awk '$1 == "50%" { v = $2; f = v ~ /us$/ ? 1 : v ~ /ms$/ ? 1000 : 1000000
                               sub(/[a-z]+$/, "", v); print v * f }' <<<"$out")
  PER_CPU_SECOND=$((REQUESTS * 100 / (after > before ? after - before : 1)))
}

# load_h2 SECONDS PATH: the same over HTTP/2, at $H2_URL, on 4 connections with 32 streams each.
load_h2() {
  local seconds=$1 path=$2 before after out
  before=$(ticks "$PID")
  out=$(taskset -c "$LOAD_CORE" h2load -t1 -c4 -m32 -D"$seconds" "$H2_URL$path")
  after=$(ticks "$PID")
  if ! grep -q ' 0 failed, 0 errored, 0 timeout' <<<"$out" ||
    ! grep -q ' 0 3xx, 0 4xx, 0 5xx' <<<"$out"; then
    grep -E '^(requests|status codes):' <<<"$out" >&2
    echo "the answers of the server were not all good; no figure" >&2
    exit 1
  fi
  REQUESTS=$(awk '$1 == "requests:" { print $8 }' <<<"$out")
  PER_CPU_SECOND=$((REQUESTS * 100 / (after > before ? after - before : 1)))
}

# The median of the numbers given.
median() {
  printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# Whether the processor's own counter can be read here.
has_counter() {
  perf stat -e instructions:u true 2>&1 | grep -qE '[0-9] +instructions:u'
}

counted_by() {
  if has_counter; then echo 'the processor (perf)'; else echo 'valgrind; no counter here'; fi
}

# instructions NAME: user instructions that a 1 KB hit costs, on 64 connections. Where the
# processor's counter can be read it is used; else valgrind counts, which takes longer.
instructions() {
  if has_counter; then
    start "$1" hit-1k
    load 64 2 /1k
    local counted
    perf stat -x, -e instructions:u -p "$PID" -o "$SCRATCH/perf" sleep 6 &
    load 64 5 /1k
    wait $!
    counted=$(awk -F, '/instructions/ { print $1 }' "$SCRATCH/perf")
    echo "$((counted / REQUESTS))"
    stop
    return
  fi
  local dump=$SCRATCH/callgrind.$1
  rm -f "$dump"*
  PREFIX="valgrind --tool=callgrind --callgrind-out-file=$dump" start "$1" hit-1k
  load 64 4 /1k
  callgrind_control --zero "$PID" >/dev/null 2>&1
  load 64 10 /1k
  # wrk leaves up to 64 answers uncounted, and closing 64 connections costs a little as well.
  callgrind_control --dump "$PID" >/dev/null 2>&1
  echo "$(($(awk '/^(totals|summary):/ { sum = $2 } END { print sum }' "$dump.1") / REQUESTS))"
  stop
}
