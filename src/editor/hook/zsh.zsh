# devbox: says so when the folder that was entered has a box. Nothing is started, and nothing forked.
__devbox_offer() {
    local folder=$PWD
    local -a named
    if [[ ${container-} == devbox ]]; then return; fi
    while [[ -n $folder && $folder != $HOME ]]; do
        named=("$folder"/.devcontainer/*/devcontainer.json(N))
        if [[ -e $folder/devbox.toml || -e $folder/.devcontainer/devcontainer.json || -e $folder/.devcontainer.json || $#named -gt 0 ]]; then
            if [[ $folder != ${__devbox_offered-} ]]; then
                print -r -- "devbox: ${(q+)folder##*/} has a box; \`devbox enter\` opens a shell in it" >&2
            fi
            typeset -g __devbox_offered=$folder
            return
        fi
        folder=${folder%/*}
    done
    typeset -g __devbox_offered=''
}
autoload -Uz add-zsh-hook
add-zsh-hook chpwd __devbox_offer
__devbox_offer
