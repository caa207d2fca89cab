# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# shellcheck disable=SC2154 # $build comes from the script that sources this, and lib.sh
#
# lib-root.sh - bare Debian roots to try packages in, made by debootstrap from the mirror that apt is configured
# with here. Sourced after lib.sh, with $build set. Needs root, and a machine where chroot(2) and mount(2) work; it
# touches nothing outside its directories. What is mounted there is unmounted by root_remove.

# root_need: says why not, and returns 77, where no root can be made here.
root_need()
{
    if [ "$(id -u)" -ne 0 ]; then
        echo "a bare root needs chroot: run this as root"
        return 77
    fi
    command -v apt-get >/dev/null 2>&1 || { echo "a bare root is made by Debian's debootstrap, and this is not Debian"; return 77; }
    packages_need debootstrap
    chroot / true 2>/dev/null || { echo "chroot is not allowed here"; return 77; }
}

# root_mirror SUITE: where apt finds that release here; of one that it does not know, where it finds its own.
root_mirror()
{
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' "Created-By: Packages" 2>/dev/null |
        awk -v suite="$1" -v here="$(. /etc/os-release && echo "$VERSION_CODENAME")" '
            $2 == suite { exact = $1 }
            $2 == here && !other { other = $1 }
            END { print exact ? exact : other }'
}

# root_base SUITE [debootstrap's options]: sets $root_tar to an archive of a minimal root, which is made once.
root_base()
{
    root_suite=$1
    shift
    root_tar=$build/roots/$root_suite$(printf '%s' "$*" | tr -c 'a-zA-Z0-9' '-').tar
    [ ! -f "$root_tar" ] || return 0
    root_url=$(root_mirror "$root_suite")
    [ -n "$root_url" ] || { echo "apt knows no mirror of $root_suite here"; return 1; }
    mkdir -p "$build/roots"
    root_new=$build/roots/new.$$
    say "making a root of $root_suite"
    debootstrap --variant=minbase "$@" "$root_suite" "$root_new" "$root_url" >"$build/roots/debootstrap.log" 2>&1 || {
        tail -n 20 "$build/roots/debootstrap.log"
        rm -rf --one-file-system "$root_new"
        return 1
    }
    rm -rf "$root_new/var/cache/apt/archives/"*.deb
    tar -C "$root_new" --numeric-owner -cf "$root_tar.new" . && mv "$root_tar.new" "$root_tar"
    root_status=$?
    rm -rf --one-file-system "$root_new"
    return $root_status
}

# root_make DIR: a fresh root there, from $root_tar. apt in it is configured as it is here, and no service is started.
root_make()
{
    root_remove "$1"
    mkdir -p "$1" || return 1
    tar -C "$1" --numeric-owner -xf "$root_tar" || return 1
    rm -f "$1/etc/apt/sources.list"
    # Apart from sources, apt may need keys, a proxy and names to reach its mirror.
    for root_file in sources.list sources.list.d apt.conf.d trusted.gpg.d auth.conf.d; do
        [ ! -e "/etc/apt/$root_file" ] || cp -RL "/etc/apt/$root_file" "$1/etc/apt/" 2>/dev/null
    done
    [ ! -d /usr/share/keyrings ] || cp -RL /usr/share/keyrings/. "$1/usr/share/keyrings/"
    for root_file in resolv.conf hosts; do
        [ ! -e "/etc/$root_file" ] || cp -L "/etc/$root_file" "$1/etc/$root_file"
    done
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d"
    mount -t proc proc "$1/proc" 2>/dev/null || { echo "mounting is not allowed here"; root_remove "$1"; return 77; }
}

# root_run DIR COMMAND...: there, with nothing of this environment.
root_run()
{
    root_dir=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root_dir" "$@" </dev/null
}

# root_depends DIR PACKAGES: install there what the .deb files in the directory PACKAGES depend on, but for each other.
root_depends()
{
    root_needed=$(for root_deb in "$2"/*.deb; do dpkg-deb -f "$root_deb" Depends; done | tr ',|' '\n\n' | sed 's/(.*//; s/ //g' |
        grep -v '^bivalve' | sort -u)
    # shellcheck disable=SC2086 # a list
    root_run "$1" apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 install $root_needed
}

root_remove()
{
    [ -d "$1" ] || return 0
    awk -v below="$(cd "$1" && pwd -P)/" 'index($5 "/", below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r root_mounted; do umount -l "$root_mounted"; done
    rm -rf --one-file-system "$1"
}
