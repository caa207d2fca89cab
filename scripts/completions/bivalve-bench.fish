# SPDX-License-Identifier: MIT
# Completions of bivalve-bench(1) for fish: commands and options are what the tool's own --help has.
function __bivalve_bench_words
    set -l words (commandline -opc)
    if test (count $words) -lt 2
        $words[1] --help 2>/dev/null | string replace -rf '^    ([a-z][a-z-]*)( .*)?$' '$1'
    else
        $words[1] $words[2] --help 2>/dev/null | string match -ra -- '--[a-z][a-z-]*' | sort -u
    end
end

set -l tool bivalve-bench
complete -c $tool -f -a '(__bivalve_bench_words)'
complete -c $tool -f -n '__fish_seen_subcommand_from diff merge export report' -a '(__fish_complete_directories)'
complete -c $tool -l backend -x -a 'auto libev epoll io_uring'
complete -c $tool -l generator -x -a 'bivalve-load gcannon wrk h2load'
for name in bivalve dataset save against
    complete -c $tool -l $name -r -F
end
for name in profiles-dir out
    complete -c $tool -l $name -x -a '(__fish_complete_directories)'
end
