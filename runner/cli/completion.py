"""`runner completion bash|zsh|fish`: what a shell has to read to complete our commands.

The scripts ask `runner __complete`, so they need not be renewed when commands change.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.terminal import STDOUT, Output

# The line is given as it is, for bash also takes = and : for ends of words. Names of files are left to readline, which quotes them, and
# those of instances, which have brackets, are quoted here.
_BASH = r"""
_runner_complete() {
    local kind word _about command=${COMP_WORDS[0]/#\~\//$HOME/}
    COMPREPLY=()
    {
        read -r kind
        while IFS=$'\t' read -r word _about; do
            if [[ $word == *[][]* ]]; then printf -v word %q "$word"; fi
            COMPREPLY+=("$word")
        done
    } < <("$command" __complete bash "${COMP_LINE:0:COMP_POINT}" "${COMP_LINE:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null </dev/null)
    case $kind in
        files) compopt -o default ;;
        folders) compopt -o dirnames ;;
    esac
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -F _runner_complete runner
"""

_ZSH = r"""#compdef runner
_runner() {
    local line word
    local -a lines spaced open
    lines=("${(@f)$("${(Q)words[1]/#\~\//$HOME/}" __complete zsh $CURRENT "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" \
        "${(@Q)words[CURRENT+1,-1]}" 2>/dev/null </dev/null)}")
    case $lines[1] in
        files) compset -P '--*='; _files ;;
        folders) compset -P '--*='; _files -/ ;;
        *)
            for line in "${(@)lines[2,-1]}"; do
                word=${${line%%$'\t'*}//:/\\:}
                if [[ $word == *= ]]; then open+=("$word:${line#*$'\t'}"); else spaced+=("$word:${line#*$'\t'}"); fi
            done
            _describe -t words word spaced -- open -S ''
            ;;
    esac
}
if [[ $funcstack[1] == _runner ]]; then _runner "$@"; else compdef _runner runner; fi
"""

_FISH = r"""
function __runner_complete
    set -l before (commandline -opc)
    set -l current (string unescape -- (commandline -ct))
    set -l all (commandline -op)
    set -l next (math (count $before) + 1)
    test -n "$current"; and set next (math $next + 1)
    set -l after
    test (count $all) -ge $next; and set after $all[$next..-1]
    set -l command (string replace -r '^~/' "$HOME/" -- $before[1])
    set -l lines ($command __complete fish (math (count $before) + 1) $before "$current" $after 2>/dev/null </dev/null)
    set -l option (string match -r -- '^--[^=]+=' $current)
    set -l value (string replace -r -- '^--[^=]+=' '' $current)
    switch "$lines[1]"
        case files
            for path in (__fish_complete_path $value)
                echo "$option$path"
            end
        case folders
            for path in (__fish_complete_directories $value '')
                echo "$option$path"
            end
        case '*'
            printf '%s\n' $lines[2..-1]
    end
end
complete -c runner -f -a '(__runner_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(options: Namespace) -> int:
    stdout = Output(STDOUT)
    stdout.print(SCRIPTS[options.shell].strip("\n"))
    return stdout.status(0)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=list(SCRIPTS), help="the shell that reads it, e.g. source <(runner completion bash)"
    )
