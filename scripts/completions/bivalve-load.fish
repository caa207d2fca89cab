# SPDX-License-Identifier: MIT
# Completions of bivalve-load(1) for fish: the options are what the tool's own --help has.
function __bivalve_load_options
    set -l tool (commandline -opc)[1]
    $tool --help 2>/dev/null | string replace -rf '^.{6}(--[a-z0-9-]+)( \S+)? +(.*)' '$1\t$3'
end

set -l tool bivalve-load
complete -c $tool -f -a '(__bivalve_load_options)'
complete -c $tool -l backend -x -a 'auto libev epoll io_uring'
complete -c $tool -l arrivals -x -a 'poisson uniform'
complete -c $tool -l tls-version -x -a '1.2 1.3'
complete -c $tool -s t -l processes -x -a auto
for name in cacert raw json hdr timeseries unix
    complete -c $tool -l $name -r -F
end
