# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# shellcheck disable=SC2034 # $url is for those who source this
# What the tests share: `start OPTION...` starts the installed server on a free port and sets $url and $server, `stop`
# ends it, and so does the end of the script.
work=${AUTOPKGTEST_TMP:-$(mktemp -d)}
server=

stop()
{
    [ -n "$server" ] || return 0
    kill "$server" 2>/dev/null
    wait "$server"
    status=$?
    server=
    return $status
}
trap stop EXIT

start()
{
    # Root gives its privileges up, as the server wants it.
    [ "$(id -u)" -ne 0 ] || set -- "$@" --user nobody
    # What an earlier server said there must be gone before it is read.
    : >"$work/log" || return 1
    bivalve --listen 127.0.0.1:0 "$@" >"$work/log" 2>&1 </dev/null &
    server=$!
    tries=0
    until url=$(sed -n 's|.*listening on \(127\.0\.0\.1:[1-9][0-9]*\).*|http://\1|p' "$work/log" | head -n 1) && [ -n "$url" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$work/log"
            echo "bivalve $* does not start"
            exit 1
        fi
        sleep 0.1
    done
}

# ask PATH WANTED: what the server answers, within ASK_SECONDS.
ask()
{
    answer=$(curl -sS --max-time "${ASK_SECONDS:-30}" "$url$1")
    [ "$answer" = "$2" ] || { cat "$work/log"; echo "$url$1 is \"$answer\", not \"$2\""; exit 1; }
}
