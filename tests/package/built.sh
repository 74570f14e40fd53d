# Two builds give the same bytes; lintian finds nothing.
# shellcheck shell=bash disable=SC2034,SC2154,SC2016

builds=()
packaged() { deploy/package --into "$scratch/$1" "${@:2}" >"$scratch/$1.log" 2>&1 & builds+=($!); }
packaged first
packaged second
packaged next --revision 2 deb rpm
for build in "${builds[@]}"; do wait "$build" || fail "a build: $(cat "$scratch"/*.log)"; done
for file in "$scratch"/first/*; do
    cmp "$file" "$scratch/second/${file##*/}" || fail "two builds of ${file##*/} differ"
done
ok "two builds of $(cd "$scratch/first" && echo *) are the same"
rm -rf "$scratch/second"
deb=$(echo "$scratch"/first/*.deb) next_deb=$(echo "$scratch"/next/*.deb)
rpm=$(echo "$scratch"/first/*.rpm) next_rpm=$(echo "$scratch"/next/*.rpm)
image=$(echo "$scratch"/first/*.oci.tar)

for wrong in "--revision 0" "--maintainer nobody" "--arch riscv64" tgz; do
    # shellcheck disable=SC2086
    if deploy/package --into "$scratch/none" $wrong >"$scratch/said" 2>&1; then fail "$wrong is accepted"; fi
    grep -q "accepted: " "$scratch/said" || fail "$wrong: $(cat "$scratch/said")"
done

# A static binary is what it is meant to be, and is taken for a library; the address is a stand-in; the licence names no
# year; there are no bugs to close.
meant=statically-linked-binary,shared-library-lacks-prerequisites,bogus-mail-host
meant+=,copyright-without-copyright-notice,initial-upload-closes-no-bugs
said=$(lintian --no-cfg --allow-root --fail-on none --suppress-tags "$meant" "$deb" 2>&1)
[[ -z $said ]] || fail "lintian: $said"
ok "lintian finds nothing"

mkdir "$scratch/tree"
dpkg-deb -x "$deb" "$scratch/tree"
tree=$scratch/tree/usr/share
words=$(bash -c '. "$1"; COMP_WORDS=(weir purg) COMP_CWORD=1; _weir weir purg weir; echo "${COMPREPLY[*]}"' - \
    "$tree/bash-completion/completions/weir")
expect "bash completes commands" '^purge purges$' "$words"
words=$(fish --no-config -c 'source $argv[1]; complete -C "weir purg"' "$tree/fish/vendor_completions.d/weir.fish")
expect "fish completes commands" '^purges' "$words"
zsh -f -c 'autoload -U compinit; compinit -d "$2"; . "$1"; whence -w _weir' - "$tree/zsh/vendor-completions/_weir" \
    "$scratch/zcompdump" >"$scratch/said" 2>&1 || fail "zsh: $(cat "$scratch/said")"
expect "zsh knows the completion" '^_weir: function$' "$(cat "$scratch/said")"
