"""A build of twelve steps: from nothing, and with nothing changed."""

import os
import shutil

from .measure import race

# What its `RUN` steps do: some write much, some little, some compute.
COMMANDS = [
    "seq 1500000 | sort -r | sha256sum > /opt/sorted",
    "cp -a /usr/share /opt/share",
    "tar -c -C /usr/lib . | gzip -6 > /opt/lib.tar.gz",
    "rm -rf /opt/share/locale && find /opt -type f -exec sha256sum {} + > /opt/sums",
    "perl -e 'my %h; $h{$_ % 9973} += $_ for 1..6000000; print scalar keys %h' > /opt/count",
    "useradd -m app && chown -R app /opt/sums",
    "gzip -dc /opt/lib.tar.gz | tar -x -C /srv",
]


def write(path, text):
    path.write_text(text)
    path.chmod(0o644)


def contexts(bench):
    """The directories of the base and of the build."""
    base, context = bench.user.home / "base", bench.user.home / "context"
    bench.user.time(["mkdir", "-p", base, context / "src"])
    shutil.copy(bench.tar, base / "debian.tar")
    (base / "debian.tar").chmod(0o644)
    write(base / "Containerfile", "FROM scratch\nADD debian.tar /\n")
    run = [f"RUN {command}" for command in COMMANDS]
    steps = ["FROM localhost/bench-base", "ENV APP=bench", "WORKDIR /app", *run[:4], "COPY src /app/src", *run[4:], 'CMD ["true"]']
    write(context / "Containerfile", "\n".join(steps) + "\n")
    for number in range(200):
        write(context / "src" / f"{number}.c", f"int f{number}(void) {{ return {number}; }}\n" * 100)
    return base, context


def build(bench):
    base, context = contexts(bench)

    def timed(runner, *args, cwd=context):
        os.sync()  # nobody waits for what the one before has written
        return runner.time(args, cwd)

    def devbox(*args):
        return timed(bench.user, bench.binary, "image", "build", "--progress", "plain", *args)

    devbox("-t", "localhost/bench-base", base)
    # The commands alone: one after the other in one box.
    bench.stop(bench.folder)
    alone = [bench.binary, "run", "--rm", "--network", "none", "--", "sh", "-ec", "\n".join(COMMANDS)]
    anew = {
        "alone": lambda: timed(bench.user, *alone, cwd=bench.folder),
        "devbox": lambda: devbox("--no-cache", "-t", "localhost/bench", "."),
    }
    again = {"devbox": lambda: devbox("-t", "localhost/bench", ".")}
    peer = "buildah is not installed, or this is not root"
    if bench.root is not None and shutil.which("buildah"):
        peer = "buildah as root"
        bud = ["buildah", "--storage-driver", "overlay", "--root", bench.root.podman / "build", "--runroot", bench.root.podman / "run",
               "bud", "--isolation", "chroot", "--layers", "--pull-never"]
        timed(bench.root, *bud, "-t", "localhost/bench-base", base)
        anew["buildah"] = lambda: timed(bench.root, *bud, "--no-cache", "-t", "localhost/bench", ".")
        again["buildah"] = lambda: timed(bench.root, *bud, "-t", "localhost/bench", ".")
    medians = race(1 if bench.quick else 3, anew)
    above = medians["devbox"] / medians["alone"] - 1
    bench.table.add("build of 12 steps, from nothing", medians["devbox"], "ms", peer, medians.get("buildah"),
                    f"<= its commands' {medians['alone']:.0f} ms + 15 % ({above:+.1%})", above <= 0.15)
    medians = race(5 if bench.quick else 11, again)
    bench.table.add("build of 12 steps, nothing changed", medians["devbox"], "ms", peer, medians.get("buildah"),
                    "<= 150 ms", medians["devbox"] <= 150)
