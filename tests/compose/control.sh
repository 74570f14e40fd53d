# Control that is killed, paused and restarted: nodes serve on, and the log loses nothing.

log=$(api /v1/stats | json 'd["log"]["id"]')
asked edge-us-east /articles/control >/dev/null
answered=$(purge '{"paths": ["/nowhere"], "reference": "answered", "wait_ms": 10000}' | json 'd["id"]')
engine kill control
expect "without control nodes serve on" '^200,.*edge-us-east; hit; ' "$(asked edge-us-east /articles/control)"
purge '{"paths": ["/articles/control"]}' >/dev/null && fail "a purge without control was taken"
ok "and a purge is refused"
engine start control
until_true 40 "all nodes back at control" connected 6
expect "a purge that was answered before control was killed is there" "^$answered$" \
    "$(api '/v1/purges?limit=1000' | json 'next(p["id"] for p in d["purges"] if p["reference"] == "answered")')"
expect "in the same log" "^$log$" "$(api /v1/stats | json 'd["log"]["id"]')"

engine pause control
since=$SECONDS
waiting='{"paths": ["/articles/control"], "reference": "waiting", "wait_ms": 10000}'
curl -s -m 60 -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
    -d "$waiting" "$control/v1/purges" >"$scratch/waiting" &
waits=$!
lost() { [[ $(asked edge-us-east /articles/control) =~ ^200,.*edge-us-east\;\ hit\;.*detail=control-lost ]]; }
until_true 40 "detail=control-lost" lost
ok "after $((SECONDS - since)) s without a word of control nodes say so, and serve on"
engine unpause control
wait "$waits" || fail "the purge that waited for control got no answer"
until_true 40 "all nodes back at control" connected 6
expect "a purge that waited for it was taken" '^(completed|in_progress)$' "$(json 'd["status"]' <"$scratch/waiting")"
until_true 20 "that purge" completed "$(json 'd["id"]' <"$scratch/waiting")"
found() { ! lost && [[ $(asked edge-us-east /articles/control) =~ ^200,.*edge-us-east\;\ hit\;\ ttl=[0-9]+$ ]]; }
until_true 20 "a hit without detail=control-lost" found

head=$(api /v1/stats | json 'd["log"]["head"]')
"${compose[@]}" restart control >/dev/null 2>&1
until_true 40 "all nodes back at control" connected 6
expect "a restarted control has its log, its nodes and its tokens" "^$log $head 6$" \
    "$(api /v1/stats | json '"%s %s %s" % (d["log"]["id"], d["log"]["head"], d["nodes"]["expected"])')"
