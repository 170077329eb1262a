# devbox: says so when the folder that was entered has a box. Nothing is started, and nothing forked.
function __devbox_offer --on-variable PWD
    status is-command-substitution; and return
    test "$container" = devbox; and return
    set -l folder $PWD
    while test -n "$folder"; and test "$folder" != "$HOME"
        for file in $folder/{devbox.toml,.devcontainer/devcontainer.json,.devcontainer.json} $folder/.devcontainer/*/devcontainer.json
            if test -e "$file"
                if test "$folder" != "$__devbox_offered"
                    set -l name (string split / -- $folder)[-1]
                    printf 'devbox: %s has a box; `devbox enter` opens a shell in it\n' (string escape -- $name) >&2
                end
                set -g __devbox_offered $folder
                return
            end
        end
        set folder (string replace -r '/[^/]*$' '' -- $folder)
    end
    set -g __devbox_offered ''
end
__devbox_offer
