# devbox: zsh finds this file by ZDOTDIR when `devbox enter` starts it in a terminal. The files that are the user's own are read
# as ever, by zsh itself: ZDOTDIR is what it was before the first of them.
if [[ -n ${DEVBOX_ZDOTDIR+set} ]]; then
    export ZDOTDIR=$DEVBOX_ZDOTDIR
    unset DEVBOX_ZDOTDIR
else
    unset ZDOTDIR
fi
if [[ -r ${ZDOTDIR:-$HOME}/.zshenv ]]; then source "${ZDOTDIR:-$HOME}/.zshenv"; fi

if [[ -o interactive ]]; then
    typeset -g __devbox_box=@NAME@ __devbox_host=@HOST@ __devbox_project=@PROJECT@
    typeset -g __devbox_code=133 __devbox_ran=0 __devbox_shown=''
    if [[ ${TERM_PROGRAM-} == vscode ]]; then
        __devbox_code=633
        print -n '\e]633;P;HasRichCommandDetection=True\e\\'
    fi

    # The host knows the folder only if it is the project's. Encoded anew only when it is another one.
    __devbox_folder() {
        emulate -L zsh
        if [[ $PWD == $__devbox_shown || -z $__devbox_host || $PWD/ != $__devbox_project/* ]]; then return; fi
        __devbox_shown=$PWD
        if [[ $__devbox_code == 633 ]]; then
            printf '\e]633;P;Cwd=%s\e\\' "${${PWD//\\/\\\\}//;/\\x3b}"
        fi
        setopt no_multibyte
        local encoded= c
        for c in ${(s::)PWD}; do
            if [[ $c == [A-Za-z0-9/._~-] ]]; then encoded+=$c; else encoded+=%${(l:2::0:)$(([##16]#c))}; fi
        done
        printf '\e]7;file://%s%s\e\\' "$__devbox_host" "$encoded"
    }

    __devbox_precmd() {
        local result=$?
        if [[ $__devbox_ran == 1 ]]; then printf '\e]%s;D;%s\e\\' $__devbox_code $result; fi
        __devbox_ran=0
        __devbox_folder
        # Last of all: other hooks may make the prompt anew each time.
        if [[ ${precmd_functions[-1]} != __devbox_precmd ]]; then
            precmd_functions=(${precmd_functions:#__devbox_precmd} __devbox_precmd)
        fi
        if [[ $PS1 != *"$__devbox_code;A"* ]]; then
            PS1=$'%{\e]'$__devbox_code$';A\e\\%}('$__devbox_box') '$PS1$'%{\e]'$__devbox_code$';B\e\\%}'
        fi
        return $result
    }

    __devbox_preexec() {
        __devbox_ran=1
        if [[ $__devbox_code == 633 ]]; then
            local line=${1//\\/\\\\}
            line=${line//$'\n'/\\x0a}
            printf '\e]633;E;%s\e\\' "${line//;/\\x3b}"
        fi
        printf '\e]%s;C\e\\' $__devbox_code
    }

    typeset -ga precmd_functions preexec_functions
    precmd_functions+=(__devbox_precmd)
    preexec_functions+=(__devbox_preexec)
fi
