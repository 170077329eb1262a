# devbox: bash reads this file instead of ~/.bashrc when `devbox enter` starts it in a terminal.
if [ -r ~/.bashrc ]; then . ~/.bashrc; fi

__devbox_box=@NAME@ __devbox_host=@HOST@ __devbox_project=@PROJECT@
__devbox_code=133 __devbox_ran=0 __devbox_shown='' __devbox_empty=''
if [ "${TERM_PROGRAM-}" = vscode ]; then __devbox_code=633; fi

# First of all at a prompt: how the command ended.
__devbox_ended() {
    local status=$?
    if [ "$__devbox_ran" = 1 ]; then printf '\e]%s;D;%s\e\\' "$__devbox_code" "$status"; fi
    __devbox_ran=0
    return "$status"
}

# The host knows the folder only if it is the project's. Encoded anew only when it is another one.
__devbox_folder() {
    if [ "$PWD" = "$__devbox_shown" ] || [ -z "$__devbox_host" ]; then return; fi
    case $PWD/ in "$__devbox_project"/*) ;; *) return ;; esac
    __devbox_shown=$PWD
    if [ "$__devbox_code" = 633 ]; then
        local cwd=${PWD//\\/\\\\}
        printf '\e]633;P;Cwd=%s\e\\' "${cwd//;/\\x3b}"
    fi
    local LC_ALL=C encoded='' i c
    for ((i = 0; i < ${#PWD}; i++)); do
        c=${PWD:i:1}
        case $c in
        [A-Za-z0-9/._~-]) encoded+=$c ;;
        *)
            printf -v c '%%%02X' "'$c"
            # Bytes above 127 are negative for printf.
            encoded+=%${c: -2}
            ;;
        esac
    done
    printf '\e]7;file://%s%s\e\\' "$__devbox_host" "$encoded"
}

# Last of all: other hooks may make the prompt anew each time.
__devbox_prompt() {
    local status=$?
    __devbox_folder
    case $PS1 in
    *"$__devbox_code;A"*) ;;
    *) PS1='\[\e]'$__devbox_code';A\e\\\]('$__devbox_box') '$PS1'\[\e]'$__devbox_code';B\e\\\]' ;;
    esac
    return "$status"
}

# VS Code wants the command line. Where the history leaves lines out it would be that of another command.
__devbox_line() {
    local line
    line=$(HISTTIMEFORMAT='' builtin history 1)
    line=${line#*[0-9][ *] }
    line=${line//\\/\\\\}
    line=${line//$'\n'/\\x0a}
    printf '\e]633;E;%s\e\\' "${line//;/\\x3b}"
}

__devbox_install() {
    local line=''
    if [ "$__devbox_code" = 633 ]; then
        case ${HISTCONTROL-}${HISTIGNORE-} in '' | ignoredups) line='$(__devbox_line)' ;; esac
        if [ -n "$line" ]; then printf '\e]633;P;HasRichCommandDetection=True\e\\'; fi
    fi
    # The arithmetic sets the mark that a command ran, and gives nothing.
    PS0="${PS0-}$line"'${__devbox_empty:$((__devbox_ran = 1, 0)):0}\e]'$__devbox_code';C\e\\'
    case $(declare -p PROMPT_COMMAND 2>/dev/null) in
    'declare -a'*) PROMPT_COMMAND=(__devbox_ended "${PROMPT_COMMAND[@]}" __devbox_prompt) ;;
    *) PROMPT_COMMAND=__devbox_ended$'\n'${PROMPT_COMMAND:+$PROMPT_COMMAND$'\n'}__devbox_prompt ;;
    esac
}
__devbox_install
unset -f __devbox_install
