# shellcheck shell=bash
# The figures of a comparison, kept in a file of lines CASE, SERVER, FIGURE, BUSY, separated by tabs, and what is
# made of them: a table, and bars that are met or missed. FIGURE is a number; "cannot" where the server cannot do
# the case; or "none" where no run was good.

declare -A FIGURES=() BUSIES=()
declare -A NAMES=([weir]=weir [before]='weir before' [nginx]=nginx [haproxy]=HAProxy [varnish]=Varnish
  [trafficserver]='Traffic Server')

# What figures must have in common to stand in one table.
setting() {
  local server
  echo "machine $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores, Linux $(uname -r)"
  for server in "${SERVERS[@]}"; do
    [[ $server == nginx_sendfile ]] || echo "version $("${server}_version")"
  done
  echo "version wrk $(wrk -v 2>&1 | awk 'NR == 1 { print $2 }'), $(h2load --version)"
  echo "rounds $ROUNDS of $SECONDS_EACH s"
  echo "cores server on $SERVER_CORE, load on $LOAD_CORE"
}

# read_kept FILE: what was measured before under the same setting; begins the file where there is none.
read_kept() {
  local case server figure busy
  setting >"$SCRATCH/setting"
  if [[ ! -s $1 ]]; then
    sed 's/^/# /' "$SCRATCH/setting" >"$1"
    return
  fi
  if ! diff <(sed -n 's/^# //p' "$1") "$SCRATCH/setting" >&2; then
    echo "--keep $1: its figures are of another setting (< there, > here); name another file" >&2
    exit 2
  fi
  while IFS=$'\t' read -r case server figure busy; do
    [[ $case != \#* ]] || continue
    FIGURES[$case/$server]=$figure BUSIES[$case/$server]=$busy
  done <"$1"
}

# keep CASE SERVER FIGURE [BUSY]
keep() {
  FIGURES[$1/$2]=$3 BUSIES[$1/$2]=${4:-}
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}" >>"$KEPT"
}

# figure CASE SERVER: sets $VALUE, empty where there is no number, and $MARK. For nginx, the better of without and
# with sendfile.
figure() {
  local value=${FIGURES[$1/$2]:-} other=${FIGURES[$1/nginx_sendfile]:-} from=$2
  MARK=
  VALUE=$value
  if [[ $2 == nginx && $other =~ ^[0-9]+$ ]] && { [[ ! $value =~ ^[0-9]+$ ]] || ((other > value)); }; then
    VALUE=$other MARK=s from=nginx_sendfile
  fi
  [[ $VALUE =~ ^[0-9.]+$ ]] || VALUE=
  local busy=${BUSIES[$1/$from]:-}
  [[ -z $busy ]] || ((busy >= 80)) || MARK+='*'
}

# ratio CASE PEER: weir's figure by that of the peer in $RATIO, empty where one is missing.
ratio() {
  local ours
  RATIO=
  figure "$1" weir
  ours=$VALUE
  figure "$1" "$2"
  if [[ -n $ours && -n $VALUE ]]; then
    RATIO=$(awk -v a="$ours" -v b="$VALUE" 'BEGIN { printf "%.2f", a / b }')
  fi
}

grouped() {
  sed ':a; s/\B[0-9]\{3\}\b/,&/; ta' <<<"$1"
}

# cell CASE SERVER: the figure, and what weir's is of it.
cell() {
  local text
  case ${FIGURES[$1/$2]:-} in
    cannot) echo '–'; return ;;
    none) echo 'none'; return ;;
    '') echo ' '; return ;;
  esac
  figure "$1" "$2"
  text="$(grouped "$VALUE")${MARK//\*/\\*}"
  if [[ $2 != weir ]]; then
    ratio "$1" "$2"
    [[ -z $RATIO ]] || text+=" ($RATIO)"
  fi
  echo "$text"
}

# table HEADING CASE...: those of the cases that were measured.
table() {
  local heading=$1 case server line rule='|---|'
  shift
  line="| $heading |"
  for server in "${SERVERS[@]}"; do
    [[ $server != nginx_sendfile ]] || continue
    line+=" ${NAMES[$server]} |" rule+='---|'
  done
  printf '%s\n%s\n' "$line" "$rule"
  for case in "$@"; do
    [[ -n ${FIGURES[$case/weir]:-} ]] || continue
    line="| $(title "$case") |"
    for server in "${SERVERS[@]}"; do
      [[ $server == nginx_sendfile ]] || line+=" $(cell "$case" "$server") |"
    done
    echo "$line"
  done
}

# The cases of the first table, and of the second.
RATES=(hit-1k hit-32k hit-1m 304 range zipf active idle h2c-1k h2c-32k h2c-1m tls-1k tls-32k tls-1m
  h2-1k h2-32k h2-1m miss-1k miss-100k post)
COSTS=(latency rate-p50 rate-p99 instructions memory)

# From the least to the most that was seen. The comparison itself makes one or two; more is other work.
loads() {
  local key
  for key in "${!FIGURES[@]}"; do
    [[ $key != load/* ]] || echo "${FIGURES[$key]}"
  done | sort -g | sed -n '1p; $p' | paste -sd, | sed 's/,/ to /'
}

# The load itself makes one for each of its two cores.
busy_machine() {
  loads | awk '$NF > 4 { printf "; other programs were at work, so only the relations within a row hold, and small ones not surely" }'
}

report() {
  cat <<END2
# weir beside its peers

Made by \`benches/compare/run\` on $(date -u +%F); [compare](compare/README.md) says what is measured and how.

    $COMMAND_LINE

$(sed -n 's/^machine /- Machine: /p; s/^cores /- Pinned: /p' "$SCRATCH/setting")
- Versions: $(sed -n 's/^version //p' "$SCRATCH/setting" | paste -sd';' | sed 's/;/; /g')
- Load average of the machine before each case: $(loads)$(busy_machine)
- Median of $(sed -n 's/^rounds \([0-9]*\)/\1 rounds/p' "$SCRATCH/setting"), the servers in turn

In parentheses: weir's figure divided by that of the peer. \`–\`: the peer cannot do it. \`none\`: no run was good.
\`s\`: with sendfile, which was better. \`*\`: the server used less than 80 % of its core, so the load did not saturate it.

## Requests per CPU second

More is better: above 1, weir is ahead.

$(table '' "${RATES[@]}")

## Time, instructions, memory

Less is better: below 1, weir is ahead. Instructions are counted by $(counted_by).

$(table '' "${COSTS[@]}")

## Bars

$(bars)
END2
}

# bar_of WHAT VALUE RELATION BOUND: one line.
bar_of() {
  local verdict=met
  if [[ -z $2 ]]; then
    verdict='not measured'
  elif ! awk -v f="$2" -v b="$4" -v r="$3" 'BEGIN { exit !(r == "at least" ? f >= b : f <= b) }'; then
    verdict=MISSED
  fi
  echo "| $1 | $3 $4 | ${2:-–} | $verdict |"
}

# How weir's figure has to stand to that of a peer: CASE PEER BOUND.
STANDINGS=(
  'hit-1k haproxy 1.15' 'hit-1k nginx 1.1' 'tls-1k haproxy 1.15' 'h2-1k haproxy 0.75' 'h2c-1k haproxy 0.75'
  'h2-32k nginx 1' 'h2-32k haproxy 1' 'h2-32k trafficserver 1'
  'h2-1m nginx 1' 'h2-1m haproxy 1' 'h2-1m trafficserver 1'
  'miss-1k haproxy 0.8' 'miss-1k trafficserver 1' 'post nginx 0.85'
)

# All bars of what was measured.
bars() {
  local standing case peer bound
  printf '| bar | bound | figure | |\n|---|---|---|---|\n'
  for standing in "${STANDINGS[@]}"; do
    read -r case peer bound <<<"$standing"
    [[ -n ${FIGURES[$case/weir]:-} && -n ${FIGURES[$case/$peer]:-} ]] || continue
    ratio "$case" "$peer"
    bar_of "$(title "$case"), by ${NAMES[$peer]}" "$RATIO" 'at least' "$bound"
  done
  for case in instructions stored waiting; do
    [[ -n ${FIGURES[$case/weir]:-} ]] || continue
    figure "$case" weir
    case $case in
      instructions) bound=16000 ;;
      stored) bound=1800 ;;
      waiting) bound=16384 ;;
    esac
    bar_of "$(title "$case")" "$VALUE" 'at most' "$bound"
  done
}
