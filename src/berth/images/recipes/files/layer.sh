#!/bin/sh
# Builds one layer of an image from packages. Runs in mount and process namespaces of its own: whatever it mounts or
# starts is gone when it ends, also when it is killed.
#
#   layer.sh base  SCRATCH OUT SUITE
#   layer.sh above SCRATCH OUT LOWERDIRS PACKAGE...
#
# SCRATCH holds: sources.sources (apt), lists/ (apt's package lists), setup.sh and finish.sh (run in the new root before
# and after the packages are installed), pack.py, files/ (copied over the new root last). OUT is the layer's tar file.
# IN_MEMORY=1 puts the tree on a tmpfs.
set -eu

mode=$1 scratch=$2 out=$3
shift 3
room=$scratch/room
mkdir -p "$room"
if [ "${IN_MEMORY:-0}" = 1 ]; then
    mount -t tmpfs -o mode=0755,size=75% layer "$room"
fi
root=$room/root
mkdir "$root" "$room/tmp" "$room/debs" "$room/debs/partial"
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true

# Standard output tells the caller how far it is, one line a stage; all else goes to standard error.
stage() { printf '%s\n' "$*"; }

in_root() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root \
        DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true chroot "$root" "$@"
}

if [ "$mode" = base ]; then
    suite=$1
    stage "Installing the base system of $suite"
    # passwd: from Debian 13 on nothing in the smallest set brings groupadd and useradd, which recipes call.
    mmdebstrap --quiet --mode=root --variant=apt --include=passwd --format=directory --skip=update \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
        --setup-hook="mkdir -p \"\$1/var/lib/apt/lists\" && cp -r \"$scratch/lists/.\" \"\$1/var/lib/apt/lists/\"" \
        "$suite" "$root" "$scratch/sources.sources" >&2
    rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/apt/apt.conf.d/99mmdebstrap"
    printf 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/90berth"
    find "$root/run" -mindepth 1 ! -path "$root/run/lock" -delete
    pack=$root
else
    lowers=$1
    shift
    mkdir "$room/upper" "$room/work"
    mount -t overlay -o "lowerdir=$lowers,upperdir=$room/upper,workdir=$room/work,redirect_dir=off,metacopy=off,index=off" \
        layer "$root"
    mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
    mount -t tmpfs -o mode=0755,nosuid dev "$root/dev"
    mknod -m 666 "$root/dev/null" c 1 3
    mknod -m 666 "$root/dev/zero" c 1 5
    mknod -m 666 "$root/dev/full" c 1 7
    mknod -m 666 "$root/dev/random" c 1 8
    mknod -m 666 "$root/dev/urandom" c 1 9
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs -o mode=1777 tmp "$root/tmp"
    mount -t tmpfs -o mode=0755 run "$root/run"
    mkdir -p "$root/var/cache/apt"
    mount -t tmpfs -o mode=0755 cache "$root/var/cache/apt"
    mkdir -p "$root/var/cache/apt/archives/partial"
    # Packages must not start what they bring (deb-systemd-invoke and invoke-rc.d ask this program).
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp "$scratch/setup.sh" "$root/run/setup.sh"
    in_root sh -eu /run/setup.sh >&2
    stage "Installing $*"
    # The host's apt works here, so that its proxies and credentials apply; only dpkg runs inside.
    apt-get -qq -y --no-install-recommends \
        -o Dir::Etc::sourcelist="$scratch/sources.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$scratch/lists" \
        -o Dir::State::status="$root/var/lib/dpkg/status" \
        -o Dir::State::extended_states="$root/var/lib/apt/extended_states" \
        -o Dir::Cache::archives="$root/var/cache/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o Dir::Log="$room/tmp" -o APT::Sandbox::User=root -o DPkg::Chroot-Directory="$root" \
        -o DPkg::Options::=--force-unsafe-io -o DPkg::Options::=--force-confold -o DPkg::Use-Pty=0 \
        -o APT::Update::Post-Invoke= -o DPkg::Post-Invoke= -o DPkg::Pre-Install-Pkgs= -o DPkg::Pre-Invoke= \
        install "$@" >&2
    cp "$scratch/finish.sh" "$root/run/finish.sh"
    in_root sh -eu /run/finish.sh >&2
    rm -f "$root/usr/sbin/policy-rc.d"
    umount "$root/var/cache/apt" "$root/run" "$root/tmp" "$root/dev" "$root/proc"
    cp -a --no-preserve=ownership "$scratch/files/." "$root/"
    umount "$root"
    pack=$room/upper
fi
stage "Packing the layer"
exec "$PYTHON" -I "$scratch/pack.py" "$pack" "$out"
