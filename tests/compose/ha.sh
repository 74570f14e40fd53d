# Three processes of control over one log in etcd: the writer is killed under purges, and then etcd's leader. Sourced by
# tests/compose.sh ha.

controls=(control control-2 control-3)
members=(etcd-1 etcd-2 etcd-3)
healthy "${controls[@]}" "${members[@]}" || fail "not all are healthy"
# on SERVICE: where a process of control is reached.
on() {
    case $1 in
        control) echo "http://127.0.0.1:$WEIR_CONTROL_PORT" ;;
        control-2) echo "http://127.0.0.1:$WEIR_CONTROL_2_PORT" ;;
        control-3) echo "http://127.0.0.1:$WEIR_CONTROL_3_PORT" ;;
    esac
}
is_writer() {
    curl -s -m 2 -H "Authorization: Bearer $token" "$(on "$1")/metrics" | grep -qx 'weir_control_is_writer 1'
}
find_writer() {
    local service
    for service in "${controls[@]}"; do
        if is_writer "$service"; then writer=$service && return; fi
    done
    return 1
}
# Another one than the writer that was.
other() { local service; for service in "${controls[@]}"; do [[ $service == "$1" ]] || { echo "$service" && return; }; done; }
replaced() { local was=$1; find_writer && [[ $writer != "$was" ]]; }

until_true 30 "a writer" find_writer
until_true 40 "all nodes at control" connected 6
ok "one of three is the writer: $writer"

# purging: purges at a process that stays, each until it is taken, every 10 ms; a line for each in $scratch/purges.
python3 tests/compose/purges.py "$(on "$(other "$writer")")" "$token" "$scratch/purges" &
purging=$!
taken() { [[ -e $scratch/purges ]] && (($(wc -l <"$scratch/purges") >= $1)); }
until_true 30 "purges" taken 50

was=$writer
engine kill "$was"
until_true 20 "another writer" replaced "$was"
until_true 20 "purges at it" taken $(($(wc -l <"$scratch/purges") + 50))
ok "purges go on at $writer after $was was killed"
version 1
asked edge-us-east /page >/dev/null
engine start "$was"
until_true 40 "$was is back" healthy "$was"

leads() {
    docker exec "$(container "$1")" etcdctl endpoint status -w json 2>/dev/null |
        json 'exit(d[0]["Status"]["leader"] != d[0]["Status"]["header"]["member_id"])' >/dev/null
}
find_leader() {
    local member
    for member in "${members[@]}"; do
        if leads "$member"; then leader=$member && return; fi
    done
    return 1
}
until_true 30 "a leader of etcd" find_leader
engine kill "$leader"
until_true 20 "purges without $leader" taken $(($(wc -l <"$scratch/purges") + 50))
ok "purges go on after etcd's leader, $leader, was killed"
engine start "$leader"
until_true 40 "$leader is back" healthy "$leader"

kill -TERM "$purging"
wait "$purging" || fail "the purges failed"
python3 - "$scratch/purges" <<'EOF'
import sys
times = [float(line.split()[0]) for line in open(sys.argv[1])]
gaps = sorted((b - a for a, b in zip(times, times[1:])), reverse=True)
print(f"  ok  {len(times)} purges; the longest gaps between answers: {gaps[0]:.2f} and {gaps[1]:.2f} s")
EOF
control=$(on "$writer")
until_true 40 "all nodes back at control" connected 6
sort -u -k2,2 "$scratch/purges" | awk '{ print $2 }' | sort >"$scratch/answered"
# All of them, in pages of a thousand.
listed() {
    local after=0 page
    while page=$(api "/v1/purges?limit=1000&after=$after") &&
        after=$(json 'd["purges"][-1]["seq"] if d["purges"] else 0' <<<"$page") && ((after > 0)); do
        json '"\n".join(p["reference"] + " " + p["status"] for p in d["purges"])' <<<"$page"
    done
}
all_completed() { ! listed | grep -v ' completed$' >"$scratch/incomplete"; }
until_true 40 "completion of all purges" all_completed
listed | awk '{ print $1 }' | sort >"$scratch/listed"
expect "none is listed twice" '^$' "$(uniq -d "$scratch/listed")"
expect "and none that was answered is lost" '^$' "$(comm -23 "$scratch/answered" "$scratch/listed" | head -3)"
version 2
purge '{"paths": ["/page"], "wait_ms": 10000}' >/dev/null
expect "what is purged at one is fetched again" 'version 2' "$(curl -s -H "$host" "$(at edge-us-east)/page")"
