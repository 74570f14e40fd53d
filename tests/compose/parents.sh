# Parents that are killed, paused, and all gone: clients notice nothing.

counts() { cut -d' ' -f"$1" "$scratch/load" 2>/dev/null || echo 0; }
# more N: so many further answers have come.
more() {
    local from
    from=$(counts 1)
    enough() { (($(counts 1) >= from + $1)); }
    until_true 60 "$1 more answers" enough "$1"
}

urls=()
for edge in "${edges[@]}"; do urls+=("$(at "$edge")/articles/"); done
python3 tests/compose/clients.py load "$scratch/load" "${urls[@]}" &
load=$!
until_true 20 "a first answer" test -s "$scratch/load"
more 100
engine kill parent-eu
more 200
engine start parent-eu
until_true 30 "a parent that is back" healthy parent-eu
more 100
engine pause parent-us
more 200
engine unpause parent-us
more 100
kill "$load"
wait "$load" || fail "the load failed"
expect "a parent killed and one paused under load: no error of $(counts 1) answers, the slowest in $(counts 3) ms" \
    '^0$' "$(counts 2)"

engine kill "${parents[@]}"
expect "without parents the edge asks the origin" '^200,edge-us-east; fwd=uri-miss; .*stored' \
    "$(asked edge-us-east /articles/alone)"
engine start "${parents[@]}"
until_true 30 "parents that are back" healthy "${parents[@]}"
by_parent() { [[ $(asked edge-us-east "/articles/back-$SECONDS-$RANDOM") =~ ^200,parent-us\; ]]; }
until_true 60 "a parent that is asked again" by_parent
ok "parents that are back are asked again"
