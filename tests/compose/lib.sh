# What the parts of tests/compose.sh have in common: sourced by it, with $compose, $control, $origin
# and $scratch set.

edges=(edge-eu-west edge-eu-north edge-us-east edge-asia-se)
parents=(parent-eu parent-us)

fail() {
    echo "failed: $1" >&2
    exit 1
}

# until_true SECONDS WHAT COMMAND...: asks again until the command succeeds.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "$what did not come about in time"
        sleep 0.1
    done
}

ok() { echo "  ok  $1"; }

# expect WHAT PATTERN TEXT: the text matches the extended regular expression.
expect() {
    grep -Eq "$2" <<<"$3" || fail "$1: expected $2, got: $3"
    ok "$1"
}

as_root() { if (($(id -u) == 0)); then "$@"; else sudo "$@"; fi; }

# json EXPRESSION: a Python expression of the document d on standard input.
json() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

of_project=(--filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
# The engine is asked rather than compose, which takes a second to start.
container() { docker ps -aq "${of_project[@]}" --filter "label=com.docker.compose.service=$1"; }
inspect() { docker inspect -f "$2" "$(container "$1")"; }
# engine VERB SERVICE...: kill, start, pause, unpause. A busy process cannot always be frozen at once.
engine() {
    local verb=$1 service
    shift
    for service in "$@"; do until_true 30 "$verb of $service" did "$verb" "$(container "$service")"; done
}
did() { docker "$@" >/dev/null 2>"$scratch/engine" || { cat "$scratch/engine"; return 1; }; }
healthy() {
    local found service
    found=$(docker ps "${of_project[@]}" --filter health=healthy \
        --format '{{.Label "com.docker.compose.service"}}')
    for service in "$@"; do grep -qx "$service" <<<"$found" || return 1; done
}

# The address of an edge, as its clients know it.
at() {
    case $1 in
        edge-eu-west) echo "http://127.0.0.1:$WEIR_EU_WEST_PORT" ;;
        edge-eu-north) echo "http://127.0.0.1:$WEIR_EU_NORTH_PORT" ;;
        edge-us-east) echo "http://127.0.0.1:$WEIR_US_EAST_PORT" ;;
        edge-asia-se) echo "http://127.0.0.1:$WEIR_ASIA_SE_PORT" ;;
        *) fail "$1 is no edge" ;;
    esac
}

# All edges are asked for one site: a port is part of a host's name.
host='Host: www.example.com'
# asked EDGE PATH: the status of a GET and its Cache-Status; that of a stored response begins with what
# the parent said when it was fetched.
asked() {
    curl -s -m 30 -H "$host" -o /dev/null -D - "$(at "$1")$2" | tr -d '\r' |
        sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p; s/^cache-status: //Ip' | paste -sd,
}
# fetches PATH: how often the origin was asked for it.
fetches() { curl -s "$origin/__sim/counters?path=$1" | json 'd["total"]["requests"]'; }
# version N: the origin answers /page with it from now on.
version() {
    curl -sf -o /dev/null -X PUT "$origin/__sim/route?path=/page" \
        -d "{\"body\": \"version $1\", \"max_age\": 600}"
}

# api PATH [CURL'S ARGUMENTS...]: a call of control as its operator makes it.
api() { curl -s -m 20 -H "Authorization: Bearer $token" "$control$1" "${@:2}"; }
purge() { api '/v1/purges?count=true' -X POST -H 'Content-Type: application/json' -d "$1"; }
# told ID EXPRESSION: what control tells of a purge.
told() { api "/v1/purges/$1" | json "$2"; }
completed() { [[ $(told "$1" 'd["status"]') == completed ]]; }
# The state of one node in a purge.
of_node() { echo "next(n['state'] for n in d['nodes'] if n['name'] == '$1')"; }
connected() {
    [[ $(api /v1/nodes | json 'sum(n["state"] == "connected" for n in d["nodes"])') == "$1" ]]
}

# watch EDGE: reads /page there until watched; what it saw is in $scratch/EDGE.
watch() {
    rm -f "$scratch/$1"
    python3 tests/compose/clients.py watch "$(at "$1")/page" "$scratch/$1" &
    watching=$!
}
# saw EDGE VERSION SINCE: whether an answer to what was asked there since then has it.
saw() {
    [[ -e $scratch/$1 ]] && awk -v since="$3" -v line="200 version $2" \
        '$1 > since && $2 " " $3 " " $4 == line { found = 1 } END { exit !found }' "$scratch/$1"
}
# watched EDGE VERSION SINCE: ends the watch; what was asked for since then is of this version.
watched() {
    kill "$watching"
    wait "$watching" || fail "the reader of $1 failed"
    local old
    old=$(awk -v since="$3" -v now="version $2" \
        '$1 > since && $2 == 200 && $3 " " $4 != now' "$scratch/$1" | head -3)
    [[ -z $old ]] || fail "$1 served what was purged: $old"
}
