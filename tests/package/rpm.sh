# The .rpm, installed in a root of its own, upgraded and erased.
# shellcheck shell=bash disable=SC2154

root=$scratch/root
mkdir "$root"
docker export "$machine" | tar -C "$root" -x
of_root() { rpm --root "$root" --dbpath /var/lib/rpm "$@"; }

expect "the .rpm says what it is" '^weir 0[^ ]* 1 x86_64 Apache-2.0 OR MIT$' \
    "$(rpm -qp --qf '%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE}\n' "$rpm")"
expect "it keeps the user's configuration" '^/etc/weir/control.toml /etc/weir/node.toml$' "$(rpm -qpc "$rpm" | xargs)"
# The root is no distribution of rpm's, so that what the package requires is not there.
quietly of_root -i --nodeps "$rpm"
expect "it installs" '^commit ' "$(chroot "$root" weir --version | grep commit)"
expect "its users are there" '^weir:' "$(grep weir: "$root/etc/passwd")"
expect "what is installed is what was packed" '^$' "$(of_root -V --nodeps weir)"
echo "# mine" >>"$root/etc/weir/node.toml"
quietly of_root -U --nodeps "$next_rpm"
expect "an upgrade keeps the configuration" '^# mine$' "$(tail -1 "$root/etc/weir/node.toml")"
quietly of_root -e weir
left=$(cd "$root" && find . -xdev -name '*weir*' ! -name '*.rpmsave')
expect "it erases" '^(./etc/weir)?$' "$left"
