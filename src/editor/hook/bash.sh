# devbox: says so when the folder that was entered has a box. Nothing is started, and nothing forked.
__devbox_offer() {
    local status=$? folder=$PWD file files
    if [ "$PWD" = "${__devbox_seen-}" ] || [ "${container-}" = devbox ]; then return "$status"; fi
    __devbox_seen=$PWD
    while [ -n "$folder" ] && [ "$folder" != "$HOME" ]; do
        files=("$folder"/{devbox.toml,.devcontainer/devcontainer.json,.devcontainer.json})
        # With `failglob`, a pattern that nothing matches would end this.
        if [ -d "$folder/.devcontainer" ] && ! shopt -q failglob; then
            files+=("$folder"/.devcontainer/*/devcontainer.json)
        fi
        for file in "${files[@]}"; do
            if [ ! -e "$file" ]; then continue; fi
            if [ "$folder" != "${__devbox_offered-}" ]; then
                printf 'devbox: %q has a box; `devbox enter` opens a shell in it\n' "${folder##*/}" >&2
            fi
            __devbox_offered=$folder
            return "$status"
        done
        folder=${folder%/*}
    done
    __devbox_offered=''
    return "$status"
}
case $(declare -p PROMPT_COMMAND 2>/dev/null) in
*__devbox_offer*) ;;
'declare -a'*) PROMPT_COMMAND=(__devbox_offer "${PROMPT_COMMAND[@]}") ;;
*) PROMPT_COMMAND=__devbox_offer${PROMPT_COMMAND:+$'\n'$PROMPT_COMMAND} ;;
esac
