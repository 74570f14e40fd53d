# shellcheck shell=bash
# User instructions of a hit of 1 KB on 64 connections.

# Whether the processor's own counter can be read here.
has_counter() {
  perf stat -e instructions:u true 2>&1 | grep -qE '[0-9] +instructions:u'
}

counted_by() {
  if has_counter; then echo 'the processor (perf)'; else echo 'valgrind'; fi
}

# Without the counter, valgrind counts. It follows one process; Varnish has two, and Traffic Server does not run
# in it.
uncounted() {
  ! has_counter && [[ $1 == varnish || $1 == trafficserver ]]
}

# run_instructions SERVER: starts it, too.
run_instructions() {
  if has_counter; then
    with_counter "$1"
  else
    with_valgrind "$1"
  fi
}

with_counter() {
  start "$1" instructions
  wrk_load 2 || return 1
  local pids counter
  pids=$(echo "$PID" $(pgrep -P "$PID") | tr ' ' ,)
  perf stat -x, -e instructions:u -p "$pids" -o "$SCRATCH/perf" sleep 6 &
  counter=$!
  wrk_load 5 || return 1
  wait "$counter"
  FIGURE[instructions]=$(($(awk -F, '/instructions/ { print $1 }' "$SCRATCH/perf") / REQUESTS))
}

# From a zeroed count over ten seconds of load. wrk leaves up to 64 answers uncounted, and closing 64 connections
# costs a little as well.
with_valgrind() {
  local dump=$SCRATCH/callgrind.$1
  rm -f "$dump"*
  PREFIX="valgrind --tool=callgrind --callgrind-out-file=$dump" start "$1" instructions
  wrk_load 4 || return 1
  callgrind_control --zero "$PID" >/dev/null 2>&1
  wrk_load 10 || return 1
  callgrind_control --dump "$PID" >/dev/null 2>&1
  FIGURE[instructions]=$(($(awk '/^(totals|summary):/ { sum = $2 } END { print sum }' "$dump.1") / REQUESTS))
}
