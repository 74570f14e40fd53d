# An edge that is killed, paused and cut off: a purge during that names it, completes on its return,
# and what it took is not shown there afterwards.

edge=edge-eu-west
network=$(docker network ls -q "${of_project[@]}")
number=0

# The next version is at the edge and read there over and over.
begin() {
    number=$((number + 1))
    version "$number"
    purge '{"paths": ["/page"], "wait_ms": 10000}' >"$scratch/begin"
    watch "$edge"
    until_true 20 "version $number at $edge" saw "$edge" "$number" 0
}

# purged_without HOW STATES: the version after it is at the origin; a purge names the edge.
purged_without() {
    number=$((number + 1))
    version "$number"
    id=$(purge '{"paths": ["/page"], "wait_ms": 1000}' | json 'd["id"]')
    expect "a purge without an edge that is $1 is in progress" "^in_progress" "$(told "$id" 'd["status"]')"
    expect "and names it" "^($2)$" "$(told "$id" "$(of_node "$edge")")"
    expect "and no other" '^5$' "$(told "$id" 'sum(n["state"] == "applied" for n in d["nodes"])')"
}

# back HOW: the purge completes, and the old version is not read any more.
back() {
    until_true 40 "the purge after the edge was $1" completed "$id"
    local since
    since=$(date +%s%N)
    until_true 20 "version $number at $edge" saw "$edge" "$number" "$since"
    watched "$edge" "$number" "$since"
    ok "an edge that was $1 has it applied, and shows nothing older"
}

begin
engine kill "$edge"
purged_without killed offline
engine start "$edge"
back killed

begin
engine pause "$edge"
purged_without paused 'pending|offline'
engine unpause "$edge"
back paused

begin
docker network disconnect "$network" "$(container "$edge")"
purged_without "cut off" 'pending|offline'
docker network connect --alias "$edge" "$network" "$(container "$edge")"
back "cut off"

# Nobody is told of anything: packets between the edge and control vanish, clients reach it.
begin
pid=$(inspect "$edge" '{{.State.Pid}}')
address=$(inspect control '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
within() { as_root nsenter -t "$pid" -n iptables "$@"; }
within -A INPUT -s "$address" -j DROP
within -A OUTPUT -d "$address" -j DROP
purged_without "separated from control" 'pending|offline'
expect "clients are served meanwhile" "^200,.*$edge; hit; " "$(asked "$edge" /page)"
within -D INPUT -s "$address" -j DROP
within -D OUTPUT -d "$address" -j DROP
back "separated from control"

# Each service dies without a word, and has its name again by itself.
for service in "${parents[@]}" "${edges[@]}" control; do
    engine kill "$service"
    engine start "$service"
    until_true 60 "$service after it was killed" healthy "$service"
done
rejoined() { [[ $(purge '{"paths": ["/page"], "wait_ms": 5000}' | json '"%s %s" % (d["status"], sum(n["state"] == "applied" for n in d["nodes"]))') == "completed 6" ]]; }
until_true 40 "a purge on all six nodes" rejoined
ok "every service that was killed rejoined without help"
