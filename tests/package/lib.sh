# shellcheck shell=bash disable=SC2154
# What the parts of tests/package.sh have in common: sourced by it, with $scratch and $machine set.

# The packages of the container's system beside those of every Debian.
base_packages=systemd-sysv,dbus,python3
base_image=weir-package-base:bookworm-$(md5sum <<<"$base_packages" | cut -c1-8)

fail() {
    echo "failed: $1" >&2
    exit 1
}

ok() { echo "  ok  $1"; }

# expect WHAT PATTERN TEXT: the text matches the extended regular expression.
expect() {
    grep -Eq "$2" <<<"$3" || fail "$1: expected $2, got: $3"
    ok "$1"
}

# until_true SECONDS WHAT COMMAND...: asks again until the command succeeds.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "$what did not come about in time"
        sleep 0.1
    done
}

quietly() { "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; fail "$*"; }; }

inside() { docker exec "$machine" "$@"; }
running() { [[ $(docker inspect -f '{{.State.Running}}' "$machine" 2>/dev/null) == true ]]; }
booted() { inside systemctl is-system-running 2>/dev/null | grep -qx running; }

# A clean Debian, kept as an image of the engine.
base() {
    docker image inspect "$base_image" >/dev/null 2>&1 && return
    quietly debootstrap --variant=minbase --include="$base_packages" bookworm "$scratch/base"
    # What is in the container need not survive the machine.
    echo force-unsafe-io >"$scratch/base/etc/dpkg/dpkg.cfg.d/test"
    rm -rf "$scratch"/base/var/cache/apt/archives/*.deb "$scratch"/base/var/lib/apt/lists/*
    tar -C "$scratch/base" -c . | docker import - "$base_image" >/dev/null
    rm -rf "$scratch/base"
}

# Starts the container. systemd needs the groups of processes, mounts, and no filter of system calls of the engine's;
# the test looks at other users' processes.
boot() {
    docker run -d --name "$machine" --network none --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined \
        --security-opt apparmor=unconfined --cgroupns host -v /sys/fs/cgroup:/sys/fs/cgroup:rw \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --env container=docker --stop-signal SIGRTMIN+3 \
        "$base_image" /sbin/init >/dev/null
    until_true 60 "a running system" booted
}

# Gives the container a file.
give() { docker cp -q "$1" "$machine:$2" 2>/dev/null || docker cp "$1" "$machine:$2" >/dev/null; }

# get URL: the status, the Cache-Status and the body of an answer.
get() {
    inside python3 -c 'import sys, urllib.request as u
a = u.urlopen(sys.argv[1], timeout=20)
print(a.status, a.headers["Cache-Status"], a.read().decode().strip())' "$1"
}
main_process() { inside systemctl show --property MainPID --value "$1"; }
