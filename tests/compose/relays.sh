# Edges that follow control through their parents, as WEIR_VIA=parents has them.

relayed() { [[ $(api /v1/nodes | json 'sum(n["tier"] == "edge" and n["via"] is not None for n in d["nodes"])') == 4 ]]; }
# via EDGE: the parent through which control sees it.
via() { api /v1/nodes | json "next(n['via'] for n in d['nodes'] if n['name'] == '$1')"; }
through() { [[ $(via "$1") == "$2" ]]; }

WEIR_VIA=parents quietly "${compose[@]}" up -d --no-deps "${edges[@]}"
until_true 60 "edges that are healthy again" healthy "${edges[@]}"
until_true 60 "edges behind parents" relayed
expect "edges follow control through the parent of their region" '^parent-eu parent-eu parent-us$' \
    "$(via edge-eu-west) $(via edge-eu-north) $(via edge-us-east)"
asked edge-eu-west /articles/1 >/dev/null
expect "a purge is completed behind parents" "^completed 6$" \
    "$(purge '{"paths": ["/articles/1"], "wait_ms": 10000}' | json '"%s %s" % (d["status"], len(d["nodes"]))')"
expect "and the page is gone" 'edge-eu-west; fwd=uri-miss' "$(asked edge-eu-west /articles/1)"
engine kill parent-eu
until_true 60 "the other parent instead" through edge-eu-west parent-us
ok "an edge whose parent is killed follows control through the other"
engine start parent-eu
until_true 30 "a parent that is back" healthy parent-eu
until_true 300 "the parent of the region again" through edge-eu-west parent-eu
ok "and goes back to the parent of its region once that has been well for a while"
