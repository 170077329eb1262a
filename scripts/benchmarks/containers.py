"""`devcontainer up` of a configuration with an image, with devbox as its docker and with podman."""

import os
import shutil

from .measure import Unmeasured, race

CONFIGURATION = '{"image": "localhost/bench-base:latest", "postCreateCommand": "true"}\n'


def up(bench):
    if not shutil.which("devcontainer"):
        raise Unmeasured("devcontainer is not installed")
    context, folder = bench.user.home / "container-base", bench.user.home / "container"
    bench.user.time(["mkdir", "-p", context, folder / ".devcontainer"])
    shutil.copy(bench.tar, context / "debian.tar")
    for path, text in [(context / "Containerfile", "FROM scratch\nADD debian.tar /\n"),
                       (folder / ".devcontainer/devcontainer.json", CONFIGURATION)]:
        path.write_text(text)
    for path in [context / "debian.tar", context / "Containerfile", folder / ".devcontainer/devcontainer.json"]:
        path.chmod(0o644)
    link = bench.user.home / "docker"
    bench.user.time(["ln", "-sf", bench.binary, link])

    def timed(docker):
        os.sync()  # nobody waits for what the one before has written
        return bench.user.time(["devcontainer", "up", "--workspace-folder", folder, "--docker-path", docker,
                                "--remove-existing-container"], folder)

    bench.user.time([link, "build", "-t", "localhost/bench-base:latest", context], folder)
    contestants, peer = {"devbox": lambda: timed(link)}, "podman is not installed"
    podman = bench.user.home / "podman"
    if shutil.which("podman"):
        peer = "podman/runc"
        base = " ".join(str(word) for word in bench.podman_running(bench.user))
        podman.write_text(f'#!/bin/sh\nexec {base} "$@"\n')
        podman.chmod(0o755)
        bench.user.time([podman, "build", "-t", "localhost/bench-base:latest", context], folder)
        contestants["podman"] = lambda: timed(podman)
    try:
        medians = race(3 if bench.quick else 9, contestants)
    finally:
        for id in bench.user.output([link, "ps", "-aq"]).stdout.split():
            bench.user.output([link, "rm", "-f", id])
        if podman.exists():
            bench.user.output([podman, "rm", "--all", "--force", "--time", "0"])
    beside = medians.get("podman")
    is_met = None if beside is None else medians["devbox"] <= beside / 2
    bench.table.add("devcontainer up, image", medians["devbox"], "ms", peer, beside, "<= 1/2 of podman", is_met)
