#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes ./configure in a fresh clone. Release tarballs contain it already.
set -eu

cd "$(dirname "$0")"

missing=
for tool in autoconf automake aclocal autoreconf pkg-config; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    cat >&2 <<EOF
autogen.sh: not found:$missing
  Debian, Ubuntu:  apt-get install autoconf automake pkg-config
  Fedora:          dnf install autoconf automake pkgconf-pkg-config
  Alpine:          apk add autoconf automake pkgconf
EOF
    exit 1
fi

mkdir -p build-aux m4
exec autoreconf --force --install --warnings=all
