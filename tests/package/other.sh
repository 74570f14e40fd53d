# The packages for the architecture that is not this machine's: what is refused always, and what is built, and that it
# serves, where dist/ has a binary for it and qemu is installed.
# shellcheck shell=bash disable=SC2154

case $(uname -m) in
x86_64) other=aarch64 of_deb=arm64 ;;
*) other=x86_64 of_deb=amd64 ;;
esac

# refused WHAT PATTERN COMMAND...: the command fails, and says so.
refused() {
    if "${@:3}" >"$scratch/said" 2>&1; then fail "${*:3} is accepted"; fi
    expect "$1" "$2" "$(cat "$scratch/said")"
}
for wrong in "--arch riscv64" "--arch" "-p weir-bars"; do
    # shellcheck disable=SC2086
    refused "deploy/prebuilt $wrong" 'accepted: .*x86_64|accepted: --arch|needs a value$' deploy/prebuilt $wrong
done
refused "what is missing for $other is named" "rustup target add $other-|/absent is missing: install gcc-" \
    env "CC_${other}_unknown_linux_gnu=/absent" deploy/prebuilt --arch "$other"

emulator=$(command -v "qemu-$other-static" || command -v "qemu-$other" || true)
if [[ ! -x dist/$other/weir ]]; then
    refused "what builds the binary is named" "deploy/prebuilt --arch $other builds it$" deploy/package --arch "$other"
    echo "  --  no dist/$other/weir: its packages are not tested"
    return
elif [[ -z $emulator ]]; then
    refused "what runs the binary is named" 'install qemu-user-static$' deploy/package --arch "$other"
    echo "  --  no qemu-$other: its packages are not tested"
    return
fi

packaged other --arch "$other"
wait "${builds[-1]}" || fail "the packages for $other: $(cat "$scratch/other.log")"
other_deb=$(echo "$scratch"/other/*.deb)
expect "the .deb is for $of_deb" "_$of_deb.deb $of_deb$" "$other_deb $(dpkg-deb -f "$other_deb" Architecture)"
expect "the .rpm is for $other" "^$other linux$" "$(rpm -qp --qf '%{ARCH} %{OS}\n' "$scratch"/other/*.rpm)"
expect "the image is for $of_deb" "^linux/$of_deb$" \
    "$(skopeo inspect --format '{{.Os}}/{{.Architecture}}' "oci-archive:$(echo "$scratch"/other/*.oci.tar)")"
said=$(lintian --no-cfg --allow-root --fail-on none --suppress-tags "$meant" "$other_deb" 2>&1)
[[ -z $said ]] || fail "lintian: $said"
ok "lintian finds nothing"
dpkg-deb -x "$other_deb" "$scratch/other/tree"
# All but the program is the same.
left=$(diff -qr "$scratch/tree" "$scratch/other/tree" || true)
expect "only the program differs" '^Files [^ ]*/usr/bin/weir and [^ ]*/usr/bin/weir differ$' "$left"

# It serves, in the container's network, with the largest pages that systems have, on a processor without extensions.
inside sh -c 'mkdir -p /srv/www && echo hello >/srv/www/index.html && touch -d 2020-01-01 /srv/www/index.html'
inside systemd-run --quiet --unit origin python3 -m http.server 3000 --bind 127.0.0.1 --directory /srv/www
case $other in aarch64) QEMU_CPU=cortex-a53 ;; *) QEMU_CPU=qemu64 ;; esac
export QEMU_CPU QEMU_PAGESIZE=65536
emulated=(nsenter -t "$(docker inspect -f '{{.State.Pid}}' "$machine")" -n
    "$emulator" "$scratch/other/tree/usr/bin/weir")
"${emulated[@]}" serve --origin http://127.0.0.1:3000 >"$scratch/other/log" 2>&1 &
emulated_node=$!
ready() { "${emulated[@]}" healthcheck >/dev/null 2>&1; }
until_true 60 "a ready node for $other: $(cat "$scratch/other/log")" ready
get http://127.0.0.1:8080/ >/dev/null
expect "it caches the site" '^200 weir; hit; .* hello$' "$(get http://127.0.0.1:8080/)"
expect "it purges" '^status  completed' "$("${emulated[@]}" purge /)"
expect "what was purged is fetched" '^200 weir; fwd=[^;]*; .* hello$' "$(get http://127.0.0.1:8080/)"
kill "$emulated_node"
wait "$emulated_node" || fail "it does not end as it should: $(cat "$scratch/other/log")"
emulated_node=
inside sh -c 'systemctl stop origin; rm -r /srv/www'
