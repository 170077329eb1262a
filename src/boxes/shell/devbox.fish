# devbox: fish finds this file by XDG_DATA_DIRS when `devbox enter` starts it in a terminal.
if set -q DEVBOX_XDG_DATA_DIRS
    set -gx XDG_DATA_DIRS $DEVBOX_XDG_DATA_DIRS
    set -e DEVBOX_XDG_DATA_DIRS
else
    set -e XDG_DATA_DIRS
end
status is-interactive; or exit

set -g __devbox_box @NAME@
set -g __devbox_host @HOST@
set -g __devbox_project @PROJECT@
set -g __devbox_code 133
set -g __devbox_shown ''
if test "$TERM_PROGRAM" = vscode
    set __devbox_code 633
    printf '\e]633;P;HasRichCommandDetection=True\e\\'
end

# fish 4 and newer says by itself what 133 says.
set -g __devbox_marks 1
if test $__devbox_code = 133; and test (string split -f 1 . -- $version) -ge 4
    set __devbox_marks 0
end

# The host knows the folder only if it is the project's.
function __devbox_folder
    test "$PWD" = "$__devbox_shown"; or test -z "$__devbox_host"; and return
    set -l length (string length -- $__devbox_project)
    test (string sub -l (math $length + 1) -- "$PWD/") = "$__devbox_project/"; or return
    set -g __devbox_shown $PWD
    if test $__devbox_code = 633
        printf '\e]633;P;Cwd=%s\e\\' (string replace -a '\\' '\\\\' -- $PWD | string replace -a ';' '\\x3b')
    end
    printf '\e]7;file://%s%s\e\\' $__devbox_host (string escape --style=url -- $PWD)
end

function __devbox_status
    return $argv[1]
end

function __devbox_before --on-event fish_prompt
    if not functions -q __devbox_prompt
        # Once, at the first prompt: by then the user's own is there.
        functions -c fish_prompt __devbox_prompt
        function fish_prompt
            set -l result $status
            test $__devbox_marks = 1; and printf '\e]%s;A\e\\' $__devbox_code
            printf '(%s) ' $__devbox_box
            __devbox_status $result
            __devbox_prompt
            test $__devbox_marks = 1; and printf '\e]%s;B\e\\' $__devbox_code
        end
    end
    __devbox_folder
end

function __devbox_running --on-event fish_preexec
    test $__devbox_marks = 1; or return
    if test $__devbox_code = 633
        printf '\e]633;E;%s\e\\' (string replace -a '\\' '\\\\' -- $argv[1] | string replace -a ';' '\\x3b' | string join '\\x0a')
    end
    printf '\e]%s;C\e\\' $__devbox_code
end

function __devbox_ended --on-event fish_postexec
    set -l result $status
    test $__devbox_marks = 1; and printf '\e]%s;D;%s\e\\' $__devbox_code $result
end
