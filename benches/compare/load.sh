# shellcheck shell=bash
# Load on the running server, and what it costs there.

# CPU ticks (1/100 s) of the server and its children, user and system time, in $TICKS.
read_ticks() {
  local pid fields
  TICKS=0
  for pid in $PID $(pgrep -P "$PID" || true); do
    # The name in parentheses may hold spaces; utime and stime are the 14th and 15th field.
    read -ra fields < <(sed 's/.*) //' "/proc/$pid/stat")
    TICKS=$((TICKS + fields[11] + fields[12]))
  done
}

# Bytes of RSS of the server and its children, and of nginx's files, in $RSS.
read_rss() {
  local pid
  RSS=0
  for pid in $PID $(pgrep -P "$PID" || true); do
    RSS=$((RSS + $(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$pid/status")))
  done
  [[ $NAME != nginx* ]] || RSS=$((RSS + $(nginx_files "$DIR")))
}

# wrk_load SECONDS [arguments of wrk]: $TARGET on $CONNECTIONS connections over $PROTOCOL (h1 or tls). Sets $REQUESTS and
# $P50_US. Says what was wrong, and fails, unless all answers were complete and none had an error's status.
wrk_load() {
  local seconds=$1 out wrong
  shift
  out=$(taskset -c "$LOAD_CORE" wrk -t1 -c"$CONNECTIONS" -d"${seconds}s" --timeout 10s --latency \
    "${HEADERS[@]}" "$@" "$(url "$PROTOCOL")$TARGET") || { WRONG="wrk failed"; return 1; }
  wrong=$(grep -E 'Non-2xx|Socket errors' <<<"$out" | paste -sd' ')
  [[ -z $wrong ]] || { WRONG=$wrong; return 1; }
  REQUESTS=$(awk '/requests in/ { print $1 }' <<<"$out")
  ((REQUESTS > 0)) || { WRONG='nothing was answered'; return 1; }
  P50_US=$(awk '$1 == "50%" { v = $2; f = v ~ /us$/ ? 1 : v ~ /ms$/ ? 1000 : 1000000
                               sub(/[a-z]+$/, "", v); print v * f }' <<<"$out")
}

# h2_load SECONDS: the same over HTTP/2, on 4 connections with 32 streams each.
h2_load() {
  h2load_for "$1" 2xx -c4 -m32 || return 1
  grep -qE '^Application protocol: h2c?$' <<<"$OUT_OF_H2LOAD" || { WRONG="not HTTP/2"; return 1; }
}

# validation_load SECONDS: conditional requests over HTTP/1.1. wrk would wait for a body where a 304 says how long
# that of a 200 is.
validation_load() {
  h2load_for "$1" 3xx --h1 -c"$CONNECTIONS" -m1
}

# h2load_for SECONDS STATUSES ARGUMENTS...
h2load_for() {
  local seconds=$1 statuses=$2
  shift 2
  run_h2load "$statuses" -D"$seconds" "$@" "${HEADERS[@]}" "$(url "$PROTOCOL")$TARGET"
}

# run_h2load STATUSES ARGUMENTS...: all answers must have a status of the class STATUSES.
run_h2load() {
  local statuses=$1 answered
  shift
  OUT_OF_H2LOAD=$(taskset -c "$LOAD_CORE" h2load -t1 "$@") || { WRONG="h2load failed"; return 1; }
  REQUESTS=$(awk '$1 == "requests:" { print $8 }' <<<"$OUT_OF_H2LOAD")
  answered=$(grep '^status codes:' <<<"$OUT_OF_H2LOAD" | grep -oE "[0-9]+ $statuses" | cut -d' ' -f1)
  if ! grep -q ' 0 failed, 0 errored, 0 timeout' <<<"$OUT_OF_H2LOAD" || ((answered == 0)) ||
    (($(grep '^status codes:' <<<"$OUT_OF_H2LOAD" | grep -oE '[0-9]+ [2-5]xx' | awk '{ n += $1 } END { print n }') > answered)); then
    WRONG=$(grep -E '^(requests|status codes):' <<<"$OUT_OF_H2LOAD" | paste -sd' ')
    return 1
  fi
}

# rate_load SECONDS: $RATE requests a second on 64 connections that begin one after another, so that requests are
# spread over time. Sets $P50_US and $P99_US. Fails if the rate was not held: each connection sends its next
# request when its time has come and the answer before it is there, so a server that is too slow lowers the rate.
rate_load() {
  local seconds=$1 log=$SCRATCH/rate.log
  rm -f "$log"
  run_h2load 2xx --h1 -c64 -m1 -r5 --rate-period=1ms --rps="$(awk -v r="$RATE" 'BEGIN { print r / 64 }')" \
    -n$((RATE * seconds)) --log-file="$log" "$(url h1)$TARGET" || return 1
  read -r HELD P50_US P99_US < <(rate_figures "$log" | tr '\n' ' ')
  awk -v held="$HELD" -v rate="$RATE" 'BEGIN { exit !(held > 0.98 * rate) }' ||
    { WRONG="$HELD requests a second instead of $RATE"; return 1; }
}

# Requests a second, and the percentiles 50 and 99 in us, of h2load's log: start in us, status, duration in us.
rate_figures() {
  awk 'NR == 1 || $1 < first { first = $1 } $1 > last { last = $1 }
       END { printf "%.0f\n", (NR - 1) * 1e6 / (last - first) }' "$1"
  cut -f3 "$1" | sort -n | awk '{ v[NR] = $1 }
    END { print v[int((NR + 1) / 2)]; print v[int(NR * 0.99 + 0.5)] }'
}

# counted COMMAND...: a load; sets $PER_CPU_SECOND of the server, $BUSY, how much of its core it used in percent,
# and $ASKED, the requests that reached the origin meanwhile.
counted() {
  local ticks from asked
  asked
  asked=$ASKED_NOW
  read_ticks
  ticks=$TICKS
  from=${EPOCHREALTIME/./}
  "$@" || return 1
  BUSY=$((${EPOCHREALTIME/./} - from))
  read_ticks
  ticks=$((TICKS > ticks ? TICKS - ticks : 1))
  asked
  ASKED=$((ASKED_NOW - asked))
  BUSY=$((ticks * 1000000 / BUSY))
  PER_CPU_SECOND=$((REQUESTS * 100 / ticks))
}

# fill PREFIX COUNT: has so many URLs stored, from PREFIX1 on. Fails unless each reached the origin.
fill() {
  local out=$SCRATCH/fill.out asked wrk
  asked
  asked=$ASKED_NOW
  PREFIX=$1 COUNT=$2 taskset -c "$LOAD_CORE" wrk -t1 -c32 -d300s --timeout 10s -s "$HERE/fill.lua" \
    "$(url h1)" >"$out" 2>&1 &
  wrk=$!
  while asked && ((ASKED_NOW - asked < $2)) && kill -0 "$wrk" 2>/dev/null; do sleep 0.1; done
  # wrk ends its load and reports. All have been answered when the first ones are asked for again.
  sleep 0.3
  kill -INT "$wrk" 2>/dev/null || true
  wait "$wrk" || true
  WRONG=$(grep -E 'Non-2xx|Socket errors|unable' "$out" | paste -sd' ')
  [[ -z $WRONG ]] || return 1
  ((ASKED_NOW - asked >= $2)) || { WRONG="only $((ASKED_NOW - asked)) of $2 fills reached the origin"; return 1; }
}

# 1,000 connections that had an answer each and stay open, in a process of its own.
hold_idle() {
  (
    for ((i = 0; i < 1000; i++)); do
      exec {fd}<>"/dev/tcp/127.0.0.1/$CLEAR_PORT"
      printf 'GET /1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' >&"$fd"
    done
    exec sleep 600
  ) &
  IDLE_PID=$!
  until_true 'idle connections are not there' "$DIR/output" idle_are_open
}

# Whether all of them are established; 0100007F is 127.0.0.1.
idle_are_open() {
  local open
  open=$(awk -v at="$(printf '0100007F:%04X' "$CLEAR_PORT")" '$2 == at && $4 == "01"' /proc/net/tcp | wc -l)
  ((open >= 1000))
}

release_idle() {
  [[ -n ${IDLE_PID:-} ]] || return 0
  kill "$IDLE_PID" 2>/dev/null || true
  wait "$IDLE_PID" 2>/dev/null || true
  IDLE_PID=
}

# The median of the numbers given.
median() {
  printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
