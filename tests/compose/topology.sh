# Two tiers, one log: misses, hits, purges, tokens, hardening.

miss=$(asked edge-eu-west /articles/1)
expect "a miss goes through the parent of the region" \
    '^200,parent-eu; fwd=uri-miss; .*edge-eu-west; fwd=uri-miss; .*stored$' "$miss"
expect "then it is a hit" '^200,.*edge-eu-west; hit; ttl=[0-9]+$' "$(asked edge-eu-west /articles/1)"
expect "the other edge of the region gets it from the parent" \
    '^200,parent-eu; hit; .*edge-eu-north; fwd=uri-miss; .*stored$' "$(asked edge-eu-north /articles/1)"
expect "another region has a parent of its own" '^200,parent-us; fwd=uri-miss; ' "$(asked edge-us-east /articles/1)"
expect "a region without a parent asks one of another" '^200,parent-(eu|us); hit; ' "$(asked edge-asia-se /articles/1)"
expect "the origin was asked once a region" '^2$' "$(fetches /articles/1)"

purged=$(purge '{"paths": ["/articles/1"], "wait_ms": 10000}')
expect "a purge is completed on all six nodes" "^completed 6 6$" \
    "$(json '"%s %s %s" % (d["status"], len(d["nodes"]), sum(n["matched"] for n in d["nodes"]))' <<<"$purged")"
for edge in "${edges[@]}"; do
    [[ $(asked "$edge" /articles/1) =~ $edge\;\ fwd=uri-miss ]] || fail "$edge still has it"
done
ok "it is gone at every edge"

expect "control asks for a token" '^401$' "$(curl -s -o /dev/null -w '%{http_code}' "$control/v1/nodes")"
expect "in the container of control none has to be given" 'edge-asia-se +edge +asia +connected' \
    "$("${compose[@]}" exec -T control weir nodes)"
"${compose[@]}" exec -T control weir purge --tag articles >"$scratch/purge" ||
    fail "a purge by tag: $(cat "$scratch/purge")"
expect "a purge by tag from there" '^status +completed' "$(cat "$scratch/purge")"
expect "the log says that tokens were generated" '^3$' \
    "$(docker logs "$(container control)" 2>&1 | grep -c 'token generated')"
expect "and does not hold them" '^0$' \
    "$(docker logs "$(container control)" 2>&1 | grep -c "$token" || true)"
metrics=$("${compose[@]}" exec -T -e WEIR_TOKEN_FILE=/run/weir/tokens/metrics control weir token)
expect "the token for metrics reads" '^weir_' \
    "$(curl -s -H "Authorization: Bearer $metrics" "$control/metrics" | grep -v '^#')"
expect "and purges nothing" '^403$' "$(curl -s -o /dev/null -w '%{http_code}' -X POST \
    -H "Authorization: Bearer $metrics" -H 'Content-Type: application/json' \
    -d '{"all": true}' "$control/v1/purges")"

for service in control origin "${parents[@]}" "${edges[@]}"; do
    expect "$service is hardened" '^65532:65532 true \[ALL\] \[no-new-privileges:true\] [1-9][0-9]+ 256 50m$' "$(
        inspect "$service" '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{index .HostConfig.LogConfig.Config "max-size"}}'
    )"
done
places=()
for service in "${parents[@]}" "${edges[@]}"; do
    place=$(inspect "$service" '{{range .Mounts}}{{if eq .Destination "/var/lib/weir"}}{{.Source}}{{end}}{{end}}')
    expect "$service has made its spool in its volume, for itself alone" '^700 65532:65532$' \
        "$(as_root stat -c '%a %u:%g' "$place/spool")"
    expect "and its disk store" '^700 65532:65532$' "$(as_root stat -c '%a %u:%g' "$place/disk")"
    places+=("$place")
done
expect "and each has a volume of its own" '^6$' "$(printf '%s\n' "${places[@]}" | sort -u | wc -l)"
expect "ports are published on loopback alone" '^127\.0\.0\.1$' \
    "$(docker ps -q "${of_project[@]}" |
        xargs docker inspect -f '{{range .NetworkSettings.Ports}}{{range .}}{{println .HostIp}}{{end}}{{end}}' |
        sort -u | grep .)"
