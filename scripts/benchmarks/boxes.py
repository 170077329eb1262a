"""Boxes: their start, their sessions, their states, their base."""

import os
import shutil
import statistics
import time

from .measure import Unmeasured, available_mib, pid_inside, processes, pss_kib, race


def podman(bench):
    """A function that times `podman run`, and as whom."""
    if not shutil.which("podman"):
        raise Unmeasured("podman is not installed")
    why = None
    for runner in [bench.user, bench.root]:
        if runner is None:
            continue
        base = bench.podman_running(runner)
        run = [*base, "run", "--rm", "--network", "none", "localhost/bench", "true"]
        try:
            runner.time([*base, "import", "--quiet", bench.tar, "localhost/bench"])
            runner.time(run)
            return (lambda: runner.time(run)), runner.name
        except Unmeasured as error:
            why = why or error
    raise why


def docker(bench):
    """A function that times `docker run`."""
    runner, command = bench.docker()
    image = f"devbox-bench:{os.getpid()}"
    runner.time([*command, "import", bench.tar, image])
    bench.docker_image = image
    return lambda: runner.time([*command, "run", "--rm", "--network", "none", image, "true"])


def cold(bench):
    bwrap = ["bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--bind", bench.tree, "/", "--proc", "/proc", "--dev",
             "/dev", "true"]
    contestants = {
        "devbox": lambda: bench.cold_run(bench.folder, "none"),
        "bwrap": lambda: bench.user.time(bwrap),
    }
    podman_user = None
    try:
        contestants["podman"], podman_user = podman(bench)
    except Unmeasured as error:
        bench.table.missing("cold run, against podman", error)
    try:
        contestants["docker"] = docker(bench)
    except Unmeasured as error:
        bench.table.missing("cold run, against docker", error)
    medians = race(bench.samples, contestants)
    bench.table.add("cold run, no network", medians["devbox"], "ms", "bwrap", medians["bwrap"], "<= 3 x bwrap",
                   medians["devbox"] <= 3 * medians["bwrap"])
    if podman_user:
        bench.table.add("cold run, no network", medians["devbox"], "ms", f"podman/runc as {podman_user}",
                       medians["podman"], "<= 1/15 of podman", medians["devbox"] <= medians["podman"] / 15)
    if "docker" in medians:
        bench.table.add("cold run, no network", medians["devbox"], "ms", "docker", medians["docker"], "", None)


def join(bench):
    bench.stop(bench.folder)
    command = bench.sleep(0)
    inside = bench.keep(bench.user, [bench.binary, "run", "--network", "none", "--"], command, bench.folder)
    enter = ["nsenter", "-U", "-m", "-p", "-n", "-i", "-u", "--preserve-credentials"]
    peer, target = "nsenter", inside
    try:
        bench.user.time([*enter, "-t", target, "true"])
    except Unmeasured:
        peer = "nsenter into bwrap"
        target = bench.keep(bench.user, ["bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--bind", bench.tree, "/",
                                       "--proc", "/proc", "--dev", "/dev"], bench.sleep(1))
    medians = race(bench.samples, {
        "devbox": lambda: bench.devbox(bench.folder, "run", "--", "true"),
        "nsenter": lambda: bench.user.time([*enter, "-t", target, "true"]),
    })
    bench.table.add("join a running box", medians["devbox"], "ms", peer, medians["nsenter"], "<= 2 x nsenter",
                   medians["devbox"] <= 2 * medians["nsenter"])
    memory(bench, inside)
    bench.stop(bench.folder)


def memory(bench, inside):
    """From a command in the box upwards: leader, init (1 in the box), supervisor."""
    try:
        parents = processes()
        init = inside
        while pid_inside(init) != 1:
            init = parents[init][0]
        kib = pss_kib(init) + pss_kib(parents[init][0])
        bench.table.add("supervisor + init, PSS", kib / 1024, "MiB", "", None, "<= 4 MiB", kib <= 4096)
    except Unmeasured as error:
        bench.table.missing("supervisor + init, PSS", error)


def private(bench):
    if not shutil.which("pasta"):
        raise Unmeasured("pasta is not installed")
    medians = race(max(3, bench.samples // 2), {
        "devbox": lambda: bench.cold_run(bench.folder, "private"),
        "pasta": lambda: bench.user.time(["pasta", "--config-net", "--", "true"]),
    })
    above = medians["devbox"] - medians["pasta"]
    bench.table.add("cold run, private network", medians["devbox"], "ms", "pasta", medians["pasta"],
                   f"<= 10 ms above pasta ({above:+.1f})", above <= 10)


def snapshots(bench):
    folder = bench.debian("snapshots")
    for files in [10, 100_000]:
        times = {"snapshot": [], "restore": [], "reset": []}
        for number in range(1 if bench.quick else 5):
            name = f"s{files}-{number}"
            fill = f"mkdir -p /data && cd /data && seq {files} | xargs touch"
            bench.devbox(folder, "run", "--network", "none", "--", "sh", "-c", fill)
            bench.stop(folder)
            times["snapshot"].append(bench.devbox(folder, "snapshot", "create", name))
            # Something to throw away, as large as what was frozen.
            bench.devbox(folder, "run", "--network", "none", "--", "sh", "-c", fill.replace("/data", "/more"))
            bench.stop(folder)
            times["restore"].append(bench.devbox(folder, "snapshot", "restore", name))
            bench.devbox(folder, "run", "--network", "none", "--", "sh", "-c", fill.replace("/data", "/more"))
            bench.stop(folder)
            times["reset"].append(bench.devbox(folder, "reset"))
        for what, values in times.items():
            ms = statistics.median(values)
            bench.table.add(f"{what}, {files:,} files", ms, "ms", "", None, "<= 20 ms", ms <= 20)


def host(bench):
    folder = bench.project("host", 'base = "host"')
    # Looked at beforehand, so that the disk is not what is measured.
    names = [os.path.join(top, name) for root in ["/usr", "/etc", "/opt"] for top, _, names in os.walk(root) for name in names]
    files = sum(1 for name in names if os.lstat(name))
    measured = bench.user.measure([bench.binary, "run", "--network", "none", "--", "true"], folder)
    first = measured["ms"]
    warm = race(3, {"devbox": lambda: bench.cold_run(folder, "none")})["devbox"]
    # The target is for 150,000 files; a smaller host must be quicker in proportion.
    target = 3000 * max(files, 10_000) / 150_000
    bench.table.add("first host base", first - warm, "ms", f"{files:,} files, {measured['cpu_ms']:.0f} ms of CPU", None,
                    f"<= {target:.0f} ms (3 s for 150,000)", first - warm <= target)
    if bench.root is None:
        raise Unmeasured("only root can change the host's packages")
    times = []
    touched = {path: os.stat(path) for path in ["/var/lib/dpkg/status", "/usr/share/doc"]}
    try:
        for _ in range(3 if bench.quick else 7):
            for path in touched:  # what a package manager does in the end
                os.utime(path)
            times.append(bench.cold_run(folder, "none") - warm)
    finally:
        for path, stat in touched.items():
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    refresh = statistics.median(times)
    bench.table.add("host base, refresh", refresh, "ms", "", None, "<= 300 ms", refresh <= 300)


def many(bench):
    count = 20 if bench.quick else 200
    folders = [bench.debian(f"many-{number}") for number in range(count)]
    before = available_mib()
    started = time.monotonic()
    for number, folder in enumerate(folders):
        bench.started.append(bench.user.start(
            [bench.binary, "run", "--network", "none", "--", *bench.sleep(2 + number).split()], folder))
    wanted = {bench.sleep(2 + number) for number in range(count)}
    deadline = started + 120
    while True:
        running = len(wanted & {command for _, command in processes().values()})
        if running == count or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    seconds = time.monotonic() - started
    used = before - available_mib()
    bench.table.add(f"{count} boxes at once", seconds, "s", f"{running} run, {used} MiB in use", None,
                   f"{count} of {count} run", running == count)
