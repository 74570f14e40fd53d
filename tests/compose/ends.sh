# What ends: an origin that goes away, and an edge that is stopped.

asked edge-eu-north /api/time >/dev/null
engine kill origin
stale() { [[ $(asked edge-eu-north /api/time) =~ ^200,.*edge-eu-north\;\ fwd=stale\;.*ttl=-[0-9]+\;\ detail= ]]; }
until_true 30 "a stale response in place of the origin" stale
ok "a stale response stands in for an origin that is gone: $(asked edge-eu-north /api/time)"
expect "what is not stored is an honest error" '^50[24],' "$(asked edge-eu-north /style.css)"
engine start origin
there() { [[ $(asked edge-eu-north /style.css) =~ ^200 ]]; }
until_true 40 "an origin that is back" there
ok "the origin is used again once it is back"

curl -sf -o /dev/null -X PUT "$origin/__sim/route?path=/slow" -d '{"body": "whole", "held": true}'
curl -s -m 60 "$(at edge-us-east)/slow" >"$scratch/slow" &
slow=$!
running() { curl -s "$origin/__sim/counters?path=/slow" | grep '"running":1' >/dev/null; }
until_true 20 "a request under way" running
stopped=$(container edge-us-east)
"${compose[@]}" stop edge-us-east >/dev/null 2>&1 &
stop=$!
stopping() { docker logs "$stopped" 2>&1 | grep stopping >/dev/null; }
until_true 20 "an edge that stops" stopping
[[ $(docker inspect -f '{{.State.Running}}' "$stopped") == true ]] || fail "the edge did not wait"
curl -sf -o /dev/null -X POST "$origin/__sim/release?path=/slow"
wait "$slow" || fail "the request under way was cut off"
wait "$stop"
expect "an edge that is stopped finishes what is under way" '^whole$' "$(cat "$scratch/slow")"
expect "and ends by itself" '^false 0$' "$(docker inspect -f '{{.State.Running}} {{.State.ExitCode}}' "$stopped")"
state='[node["state"] for node in d["nodes"] if node["name"] == "edge-us-east"]'
expect "a purge does not wait for it: it returns with its disk" "^completed \['lease_over'\]$" \
    "$(purge '{"paths": ["/a"], "wait_ms": 10000}' | json "'%s %s' % (d['status'], $state)")"
"${compose[@]}" start edge-us-east >/dev/null 2>&1
applied() { [[ $(purge '{"paths": ["/a"], "wait_ms": 10000}' | json "'%s %s' % (d['status'], $state)") == "completed ['applied']" ]]; }
until_true 20 "an edge that returns" applied
ok "one that is started again is waited for again"
