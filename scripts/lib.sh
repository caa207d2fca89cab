# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # variables are shared with the scripts that source this
#
# lib.sh - what scripts/test, scripts/quickstart and .ci/run share. Sourced, with $top, the top of the source
# tree, $build, where to build, and $jobs, how many jobs of make, set.

# Debian's packages for building, for testing, for tables and plots, and for measuring with the load generators of others.
PACKAGES_BUILD="gcc libc6-dev make autoconf automake pkg-config libev-dev liburing-dev libjansson-dev libseccomp-dev"
PACKAGES_BUILD="$PACKAGES_BUILD libssl-dev zlib1g-dev libbrotli-dev libzstd-dev"
PACKAGES_TEST="libcmocka-dev python3 python3-pytest openssl strace curl procps iproute2 zsh fish"
PACKAGES_PLOTS="python3-numpy python3-matplotlib"
PACKAGES_MEASURE="wrk nghttp2-client $PACKAGES_PLOTS"
# What scripts/bench-peers compares with; nobody else needs them.
PACKAGES_PEERS="nginx-core libnginx-mod-http-echo h2o openssl"
PACKAGES_CI="ccache clang libclang-rt-dev clang-format cppcheck shellcheck mandoc xz-utils git chromium"
PACKAGES_CI="$PACKAGES_CI valgrind dpkg-dev debhelper lintian blhc rpm prometheus systemtap-sdt-dev nginx-core haproxy"
PACKAGES_CI="$PACKAGES_CI python3-seccomp python3-yaml gnupg"
# For scripts/vm: here, and in its machine.
PACKAGES_VM="qemu-system-x86 e2fsprogs debootstrap"
PACKAGES_VM_INSIDE="libcmocka-dev python3-pytest strace"

say()
{
    printf '\n== %s\n' "$*"
}

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# packages_need NAME...: install those of Debian's packages that are missing. Asks nothing; who may not
# install gets the command to type. On other systems configure says what is missing.
packages_need()
{
    if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
        echo "This is not Debian or a relative of it: nothing is installed. configure will name what is missing."
        return 0
    fi
    packages_missing=
    for package in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) packages_missing="$packages_missing $package" ;;
        esac
    done
    [ -n "$packages_missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Missing packages. Please run, then start this again:" >&2
        echo "  sudo apt-get install --no-install-recommends$packages_missing" >&2
        exit 1
    fi
    say "installing$packages_missing"
    # shellcheck disable=SC2086 # a list
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
        $packages_missing </dev/null >/tmp/bivalve-apt.$$ 2>&1 && {
        rm -f /tmp/bivalve-apt.$$
        return 0
    }
    # The lists may be missing or old.
    # shellcheck disable=SC2086
    if DEBIAN_FRONTEND=noninteractive apt-get -q update </dev/null >/tmp/bivalve-apt.$$ 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
            $packages_missing </dev/null >>/tmp/bivalve-apt.$$ 2>&1; then
        rm -f /tmp/bivalve-apt.$$
        return 0
    fi
    tail -n 20 /tmp/bivalve-apt.$$ >&2
    rm -f /tmp/bivalve-apt.$$
    die "apt-get could not install$packages_missing (the last lines of its output are above)"
}

# source_prepare: make ./configure where it is missing or older than what it is made of. A source tree that
# cannot be written to is copied first. Sets $source to the tree to configure from.
source_prepare()
{
    source=$top
    if [ -x "$top/configure" ] && [ -z "$(find "$top/configure.ac" "$top/Makefile.am" "$top/m4" \
        "$top/scripts/bench/files.mk" -type f -newer "$top/configure" 2>/dev/null)" ]; then
        return 0
    fi
    if [ ! -w "$top" ]; then
        source=$build/source
        rm -rf "$source"
        mkdir -p "$source" || die "$build cannot be written to: name another directory by BUILD=DIR"
        (cd "$top" && tar -cf - --exclude=./.git --exclude=./build .) | tar -xf - -C "$source"
        chmod -R u+w "$source"
    fi
    say "making configure"
    "$source/autogen.sh" >"$build/autogen.log" 2>&1 || {
        cat "$build/autogen.log" >&2
        die "autogen.sh failed"
    }
}

# build_in DIR [configure's arguments]: configure and make in DIR. The output goes to DIR/build.log and is
# shown when something fails. Returns 1 then.
build_in()
{
    build_dir=$1
    shift
    mkdir -p "$build_dir" || die "$build_dir cannot be made"
    (
        cd "$build_dir" || exit 1
        if [ ! -f config.status ] || [ -n "$(find "$source/configure" -newer config.status)" ] ||
            [ "$*" != "$(cat configure.args 2>/dev/null)" ]; then
            "$source/configure" --prefix="$build_dir/root" "$@" || exit 1
            printf '%s' "$*" >configure.args
        fi
        make -j"$jobs"
    ) >"$build_dir/build.log" 2>&1 </dev/null && return 0
    tail -n 40 "$build_dir/build.log"
    echo "building in $build_dir failed; the whole output is in $build_dir/build.log"
    return 1
}

# tarball_make SOURCE DIR: bivalve-VERSION.tar.gz and .tar.xz of that tree, which has its configure, in DIR, where it is
# configured; sets $version. The same tree gives the same bytes: nothing in them tells who made them, when, or where.
# SOURCE_DATE_EPOCH is the time of all files, by default that of NEWS. Returns 1, with the reason, when something fails.
tarball_make()
{
    tarball_epoch=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$1/NEWS")}
    mkdir -p "$2" || return 1
    (
        cd "$2" && rm -f bivalve-*.tar.* || exit 1
        "$1/configure" --without-openssl --without-zlib --without-brotli --without-zstd || exit 1
        # GNU tar's, gzip's and xz's own variables, which automake does not set. Files are 644 or 755.
        export TAR_OPTIONS="--sort=name --owner=0 --group=0 --numeric-owner --mtime=@$tarball_epoch --mode=u=rwX,go=rX"
        # One after the other: each removes the directory that it packs. What is in them is the same.
        make GZIP_ENV=-9n dist-gzip && XZ_DEFAULTS="-T1" make dist-xz || exit 1
        gzip -dc bivalve-*.tar.gz >tarball.tar && xz -dc bivalve-*.tar.xz | cmp - tarball.tar && tar -tf tarball.tar >tarball.list &&
            grep -q '/configure$' tarball.list && rm tarball.tar
    ) >"$2/tarball.log" 2>&1 </dev/null || {
        tail -n 30 "$2/tarball.log"
        echo "the tarball could not be made; all of the output is in $2/tarball.log"
        return 1
    }
    version=$(sed -n 's/^VERSION = //p' "$2/Makefile")
}

# server_start LOG BINARY [options]: start a server on a free port of the loopback, wait until it says where, and
# set $server (its pid) and $url. Returns 1, with its log on stdout, when it does not come up. server_stop ends it
# and returns its exit status.
server=
server_start()
{
    server_log=$1
    shift
    # Root gives its privileges up, as the server wants it.
    [ "$(id -u)" -ne 0 ] || set -- "$@" --user nobody
    # What an earlier server said there must be gone before it is read.
    : >"$server_log" || return 1
    "$@" --listen 127.0.0.1:0 >"$server_log" 2>&1 </dev/null &
    server=$!
    url=
    server_tries=0
    while [ "$server_tries" -lt 100 ]; do
        url=$(sed -n 's/.*\(127\.0\.0\.1:[1-9][0-9]*\).*/http:\/\/\1/p' "$server_log" | head -n 1)
        [ -z "$url" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
        server_tries=$((server_tries + 1))
    done
    cat "$server_log"
    echo "the server did not start"
    server_stop
    return 1
}

server_stop()
{
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null
    wait "$server"
    server_status=$?
    server=
    return "$server_status"
}

# Totals over everything that ran; `total_line` prints the last line that every script here ends with.
total_passed=0
total_failed=0
total_skipped=0

total_add()
{
    total_passed=$((total_passed + $1))
    total_failed=$((total_failed + $2))
    total_skipped=$((total_skipped + $3))
}

total_line()
{
    echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
}

# check_in DIR [make's arguments]: `make check` there, then count the cases of every test from its log. Tests over
# the wire wait more than they compute: twice as many jobs as there are CPUs.
check_in()
{
    check_dir=$1
    shift
    make -C "$check_dir" -j$((jobs * 2)) check "$@" >"$check_dir/check.log" 2>&1 </dev/null
    check_status=$?
    check_count "$check_dir"
    if [ "$check_status" -ne 0 ] && { [ "$count_failed" -eq 0 ] || [ "$count_tests" -eq 0 ]; }; then
        tail -n 40 "$check_dir/check.log"
        echo "make check failed in $check_dir before any test did"
        count_failed=1
    fi
    total_add "$count_passed" "$count_failed" "$count_skipped"
}

# check_count DIR: a line for each test that ran there and the reasons of what was skipped; the output of
# those that failed. Sets count_passed, count_failed, count_skipped. Everything is read from the harness's own
# .trs files, which have a line for each case that a test's TAP told of, and one more for what is wrong with
# the TAP itself: no plan, a bad exit status.
check_count()
{
    count_passed=0
    count_failed=0
    count_skipped=0
    count_tests=0
    # shellcheck disable=SC2044 # our own names, no blanks
    for trs in $(find "$1" \( -name _build -o -name _inst -o -name source \) -prune -o -name '*.trs' -print | sort); do
        log=${trs%.trs}.log
        name=${trs#"$1"/}
        name=${name%.trs}
        # shellcheck disable=SC2046 # words
        set -- "$1" $(awk '
            /^:test-result: (PASS|XFAIL)/ { p++ }
            /^:test-result: (FAIL|XPASS|ERROR)/ { f++ }
            /^:test-result: SKIP/ { s++ }
            END { if (p + f + s == 0) f = 1; print p + 0, f + 0, s + 0 }' "$trs")
        p=$2 f=$3 s=$4
        printf '%-5s %s: %d passed, %d failed, %d skipped\n' "$([ "$f" -eq 0 ] && echo PASS || echo FAIL)" "$name" \
            "$p" "$f" "$s"
        [ "$s" -eq 0 ] || sed -n 's/^ok .*# SKIP/      skipped:/p; s/^1\.\.0 # SKIP/      skipped:/p' "$log" | sort | uniq -c | head -n 20
        if [ "$f" -gt 0 ]; then
            echo "      ---- what failed of ${log#"$PWD"/}:"
            awk '/^not ok|^Bail out/ { on = 40 } /^ok / { on = 0 } on-- > 0' "$log" | head -n 80 | sed 's/^/      /'
            echo "      ---- and its end:"
            tail -n 8 "$log" | cut -c 1-300 | sed 's/^/      /'
        fi
        count_tests=$((count_tests + 1))
        count_passed=$((count_passed + p))
        count_failed=$((count_failed + f))
        count_skipped=$((count_skipped + s))
    done
    if [ "$count_tests" -eq 0 ]; then
        echo "no test left a result in $1"
        count_failed=1
    fi
}
