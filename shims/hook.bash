# For persistent shells: an agent types its commands into them, so no shell is started that agentsh could stand in for.
# Sourced by bash (.bashrc, BASH_ENV, or typed), it puts a folder of shims first in PATH and keeps it there, whatever later puts
# itself in front (a virtual environment, nvm); and it makes shims for what gets installed later. See `agentshctl shims --help`.
#
# It lives in a DEBUG trap alone: OpenHands sets PROMPT_COMMAND and PS1, SWE-ReX sets PS0, PS1 and PS2, anew and again, and
# both read what is printed. It prints nothing and leaves $?, $_, PIPESTATUS and BASH_REMATCH as they are. A DEBUG trap can't be seen
# from a sourced file: source this one before whatever sets one.
#
#   AGENTSH_SHIMS   the folder; by default agentsh/shims below $XDG_STATE_HOME or ~/.local/state
#   AGENTSH_OFF=1   nothing is done

if [[ -n ${BASH_VERSION-} && ${AGENTSH_OFF-} != 1 && -z ${__agentsh_shims-} ]]; then
    __agentsh_start() {
        local ctl name dir=${BASH_SOURCE[0]%/*}
        for ctl in "$dir/../bin/agentshctl" /opt/agentsh/bin/agentshctl "$(type -P agentshctl)"; do
            [[ -x $ctl ]] && break
        done
        [[ -x $ctl ]] || return 0
        __agentsh_shims=${AGENTSH_SHIMS:-${XDG_STATE_HOME:-${HOME-}/.local/state}/agentsh/shims}
        # One that isn't a link of ours stays, and is told by the status: no reason for `set -e` to end the shell.
        "$ctl" shims install "$__agentsh_shims" >/dev/null 2>&1 || :
        __agentsh_shims=$(cd -- "$__agentsh_shims" 2>/dev/null && pwd -P) || return 0
        __agentsh_launcher=$(cd -- "${ctl%/*}" && pwd -P)/agentsh
        declare -gA __agentsh_names=()
        while read -r name; do __agentsh_names[$name]=1; done < <("$ctl" shims list 2>/dev/null)
    }

    # Before each command, which is in $1.
    __agentsh_before() {
        # Without a PATH nothing is found, and that is meant; `set -u` may be on.
        [[ -z ${PATH-} || $PATH == "$__agentsh_shims":* ]] || PATH=$__agentsh_shims:$PATH
        # Cut by its length: what the shortest match of a pattern is takes bash the square of a long word's time.
        local rest=$1 word rounds=0
        word=${rest%%[[:space:]]*}
        while [[ $word == [[:alpha:]_]*=* && $word != "$rest" ]] && ((rounds++ < 16)); do
            rest=${rest:${#word}+1}
            word=${rest%%[[:space:]]*}
        done
        if [[ -n $word && -n ${__agentsh_names[$word]-} && ! -L $__agentsh_shims/$word ]]; then
            __agentsh_add "$word"
        fi
        return 0
    }

    # One of the usual names that had no program when the shims were made: has it one now?
    __agentsh_add() {
        [[ -n $(type -P -- "$1") ]] && ln -s -- "$__agentsh_launcher" "$__agentsh_shims/$1" 2>/dev/null && hash -d "$1" 2>/dev/null
        return 0
    }

    __agentsh_start
    if [[ -n ${__agentsh_shims-} ]]; then
        PATH=$__agentsh_shims:$PATH
        # $_ is the last argument before and after. What is redirected is the trace of `set -x`.
        trap -- '{ __agentsh_before "$BASH_COMMAND" "$_"; } 2>/dev/null' DEBUG
    fi
    unset -f __agentsh_start
fi
