# The .deb on a clean Debian: installed, a site served, upgraded under load, removed and purged.
# shellcheck shell=bash disable=SC2154,SC2016

# The files, users and units of the container, but those that any system or any work of apt's changes.
state() {
    inside find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /var/lib/dpkg \
        -o -path /var/lib/apt -o -path /var/cache/apt -o -path /var/log/journal \
        -o -path '/var/log/apt*' -o -path '/var/log/dpkg.log*' -o -path '/var/log/alternatives.log*' \
        -o -path '/var/lib/systemd/*' -o -name '*-' -path '/etc/*' -o -name .pwd.lock \) -prune -o -print | sort
    inside cut -d: -f1 /etc/passwd
    inside cut -d: -f1 /etc/group
    inside dpkg-query -f '${Package} ${Status}\n' -W
}

install() { inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${@:2}" "/root/${1##*/}"; }
closed() { ! inside python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080), 5)' 2>/dev/null; }
ready() { inside weir healthcheck >/dev/null 2>&1; }
reported() { inside test -e /root/report; }
base
boot
state >"$scratch/before"
give "$deb" /root/
give "$next_deb" /root/
give tests/package/visitors.py /root/visitors.py

quietly install "$deb"
commit=$(inside weir --version | sed -n 's/^commit *//p')
git cat-file -e "$commit^{commit}" || fail "the program is of the commit $commit"
ok "the package installs, and says of which commit it is"
quietly inside systemd-analyze verify weir.service weir-control.service weir.socket
[[ $(inside systemctl is-enabled weir weir-control weir.socket || true) == $'disabled\ndisabled\ndisabled' ]] ||
    fail "something is enabled"
closed || fail "something was started"
expect "it starts nothing" "^inactive" "$(inside systemctl is-active weir weir-control || true)"

# A site on port 3000, as node.toml has it. Its name is in /etc/hosts alone, which nsswitch.conf does not name: a
# static program looks there nevertheless.
inside sh -c 'mkdir -p /srv/www && echo hello >/srv/www/index.html && touch -d 2020-01-01 /srv/www/index.html
    echo 127.0.0.1 origin.internal >>/etc/hosts && sed -i "s/^hosts:.*/hosts: absent/" /etc/nsswitch.conf
    sed -i "s#http://127.0.0.1:3000#http://origin.internal:3000#" /etc/weir/node.toml'
inside systemd-run --quiet --unit origin python3 -m http.server 3000 --bind 127.0.0.1 --directory /srv/www
inside sed -i 's#^listen = "127.0.0.1:9090"#listen = "127.0.0.1:9190"#' /etc/weir/control.toml
quietly inside systemctl enable --now weir weir-control
until_true 20 "a ready node" ready
get http://127.0.0.1:8080/ >/dev/null
expect "the service caches the site" '^200 weir; hit; .* hello$' "$(get http://127.0.0.1:8080/)"
expect "it purges" '^status  completed' "$(inside weir purge /)"
expect "control made its tokens" '^operator$' "$(inside ls /var/lib/weir-control/tokens)"
[[ $(inside stat -c %U /var/lib/weir /var/lib/weir-control) == $'weir\nweir-control' ]] || fail "the owners differ"

# Upgraded under load.
inside sh -c 'echo "# mine" >>/etc/weir/node.toml'
quietly inside systemctl reload weir weir-control
docker exec -d "$machine" python3 /root/visitors.py 127.0.0.1:8080 / /root/stop /root/report
node=$(main_process weir) control=$(main_process weir-control)
quietly install "$next_deb"
expect "the upgrade says nothing of a failure" '^$' "$(grep 'did not take over' "$scratch/said" || true)"
for unit in weir weir-control; do
    now=$(main_process $unit)
    if [[ $now == "$node" || $now == "$control" ]]; then fail "$unit was not taken over"; fi
    [[ $(inside readlink "/proc/$now/exe") == /usr/bin/weir ]] || fail "$unit runs the old program"
    expect "the new program took over from $unit" '^active$' "$(inside systemctl is-active $unit)"
done
gone() { ! inside test -e "/proc/$node"; }
until_true 40 "the end of the old process" gone
inside touch /root/stop
until_true 40 "the visitors' report" reported
report=$(inside cat /root/report)
(($(head -1 <<<"$report") >= 100)) || fail "only $(head -1 <<<"$report") answers"
[[ $(wc -l <<<"$report") == 1 ]] || fail "visitors were refused: $(head -5 <<<"$report")"
ok "$report answers during the upgrade, no failure"
inside systemctl kill --kill-whom=main --signal=KILL weir
until_true 20 "a node that systemd started again" ready
ok "systemd starts the new process again when it dies"
expect "the configuration is the user's" '^# mine$' "$(inside tail -1 /etc/weir/node.toml)"
expect "the package is the new one" '^.*-2$' "$(inside dpkg-query -f '${Version}' -W weir)"

# A configuration that the new program refuses.
inside sh -c 'echo "[nodes]" >>/etc/weir/node.toml'
node=$(main_process weir)
quietly install "$deb" --allow-downgrades
expect "an upgrade that fails says so" 'did not take over from weir.service, which runs on' "$(cat "$scratch/said")"
[[ $(main_process weir) == "$node" ]] || fail "it was restarted"
expect "and the old program serves on" '^200 ' "$(get http://127.0.0.1:8080/)"

# Removed and purged.
quietly inside apt-get remove -y -q weir
closed || fail "the removed service runs on"
expect "the configuration stays after remove" '^# mine$' "$(inside grep mine /etc/weir/node.toml)"
quietly inside apt-get purge -y -q weir
inside sh -c 'systemctl stop origin; rm -r /srv/www; systemctl daemon-reload; systemctl reset-failed'
state >"$scratch/after"
left=$(diff "$scratch/before" "$scratch/after" || true)
[[ -z $left ]] || fail "left behind: $left"
ok "purge leaves nothing behind"
