complete --keep-order --exclusive --command devbox --arguments "(COMPLETE=fish devbox -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
