"""The network of a box: what it costs beside `pasta` alone, what an egress list costs, how fast its ports are; and what the
system call filter costs.
"""

import contextlib
import shutil
import statistics
import subprocess

from .measure import Unmeasured, processes, pss_kib

# Of nobody (RFC 5737): given to the host's loopback meanwhile, for a box cannot reach an address that it has itself.
ADDRESS = "198.51.100.77"
PORT, INBOUND = "47001", "47002"


@contextlib.contextmanager
def server(bench):
    if bench.root is None:
        raise Unmeasured("only root can give this host another address")
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    process = subprocess.Popen(["python3", bench.scratch / "peer.py", "serve", PORT], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


def project(bench, name, network):
    """A running box on the host's base, which has python3 and git."""
    folder = bench.project(name, f'base = "host"\n[network]\nmode = "private"\n{network}')
    bench.devbox(folder, "profile", "trust")
    bench.user.time(["cp", bench.scratch / "peer.py", folder / "peer.py"])
    bench.keep(bench.user, [bench.binary, "run", "--"], bench.sleep(len(bench.boxes)), folder)
    return folder


def numbers(bench, argv, cwd=None):
    # The pasta of Debian 12 resets a connection now and then when it is pushed hard.
    attempts = (bench.user.output(argv, cwd) for _ in range(4))
    result = next(filter(lambda result: result.returncode == 0, attempts), None) or bench.user.output(argv, cwd)
    if result.returncode != 0:
        raise Unmeasured(f"`{argv[0]}`: {(result.stderr.splitlines() or ['no message'])[-1]}")
    return [float(line) for line in result.stdout.split()]


def in_turns(bench, contestants, taken=statistics.median, rounds=7):
    """What is `taken` of each one's numbers."""
    rounds = [{name: ask() for name, ask in contestants.items()} for _ in range(2 if bench.quick else rounds)]
    return {name: [taken(column) for column in zip(*(one[name] for one in rounds))] for name in contestants}


def of_the_best(values):
    """The mean of the best quarter."""
    count = max(1, len(values) // 4)
    return statistics.mean(sorted(values)[-count:])


def network(bench):
    if not shutil.which("pasta"):
        raise Unmeasured("pasta is not installed")
    with server(bench):
        plain, listed = project(bench, "network", ""), project(bench, "egress", f'egress = ["{ADDRESS}"]')

        def contestants(*whats):
            ask = ["python3", "peer.py", "ask", ADDRESS, PORT, *whats]
            inside = [bench.binary, "run", "--", *ask]
            return {
                "pasta": lambda: numbers(bench, ["pasta", "--config-net", "--", *ask], plain),
                "box": lambda: numbers(bench, inside, plain),
                "egress": lambda: numbers(bench, inside, listed),
            }

        # Connections through the pasta of Debian 12 stall at random, whoever starts it: what it does at best can be compared.
        best = in_turns(bench, contestants("up", "down"), of_the_best, 25)
        medians = in_turns(bench, contestants("connect"))
        # Loopback passes the same filter, many times as fast as pasta.
        alone = [bench.binary, "run", "--", "python3", "peer.py", "within", PORT, *["down"] * 4]
        loopback = in_turns(bench, {
            "box": lambda: [max(numbers(bench, alone, plain))],
            "egress": lambda: [max(numbers(bench, alone, listed))],
        }, rounds=15)
    for number, way in enumerate(["sent", "received"]):
        pasta, box, egress = (best[name][number] for name in ["pasta", "box", "egress"])
        if 0 in [pasta, box, egress]:
            bench.table.missing(f"private network, {way}", "every connection through pasta stood still")
            continue
        bench.table.add(f"private network, {way}, at best", box, "Gbit/s", "pasta", pasta, ">= 0.9 x pasta", box >= 0.9 * pasta)
        bench.table.add(f"egress list, {way}, at best", egress, "Gbit/s", "none", box, ">= 0.95 x none", egress >= 0.95 * box)
    box, egress = loopback["box"][0], loopback["egress"][0]
    bench.table.add("egress list, within the box", egress, "Gbit/s", "none", box, ">= 0.95 x none", egress >= 0.95 * box)
    box, egress = medians["box"][0], medians["egress"][0]
    bench.table.add("egress list, a connection", egress, "us", "none", box, f"<= 1000 us more ({egress - box:+.0f})",
                   egress - box <= 1000)
    agent(bench)
    inbound(bench)


def agent(bench):
    """Of the box with a list: its agent does most."""
    for name in ["devbox: network", "devbox: dialer"]:
        found = [pid for pid, (_, command) in processes().items() if command == name]
        if not found:
            raise Unmeasured(f"there is no `{name}`")
        kib = max(pss_kib(pid) for pid in found)
        bench.table.add(f"`{name}`, PSS", kib / 1024, "MiB", "", None, "", None)


def inbound(bench):
    folder = project(bench, "ports", f'ports = ["{INBOUND}:{INBOUND}"]\nforward = "off"')
    inside = bench.user.start([bench.binary, "run", "--", "python3", "peer.py", "serve", INBOUND], folder)
    bench.started.append(inside)
    host = subprocess.Popen(["python3", bench.scratch / "peer.py", "serve", PORT], stdout=subprocess.PIPE)
    try:
        host.stdout.readline()
        ask = ["python3", bench.scratch / "peer.py", "ask", "127.0.0.1"]
        # Turned away until the server in the box listens.
        bench.user.output(["sh", "-c", f"until {' '.join(map(str, ask))} {INBOUND} down; do :; done"])
        medians = in_turns(bench, {
            "box": lambda: numbers(bench, [*ask, INBOUND, "up", "down"]),
            "host": lambda: numbers(bench, [*ask, PORT, "up", "down"]),
        })
    finally:
        host.kill()
        host.wait()
    for number, way in enumerate(["to", "from"]):
        box, host = medians["box"][number], medians["host"][number]
        bench.table.add(f"a port, {way} the box", box, "Gbit/s", "host", host, ">= 10 Gbit/s", box >= min(10, host))


def filter_cost(bench):
    """`git status` in a large tree, which is the same below `bwrap`, where there is no filter."""
    if not shutil.which("bwrap") or not shutil.which("git"):
        raise Unmeasured("bwrap or git is not installed")
    folder = project(bench, "large", "")
    files = 5_000 if bench.quick else 50_000
    make = f"git init -q && mkdir d && cd d && seq {files} | xargs touch && git add . 2>&1"
    bench.user.time(["sh", "-c", make], folder)
    runs = ["python3", "peer.py", "status", "5" if bench.quick else "15"]
    free = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--"]
    # Some per cent are less than what the machine's other work adds to a median.
    least = in_turns(bench, {
        "box": lambda: numbers(bench, [bench.binary, "run", "--", *runs], folder),
        "free": lambda: numbers(bench, [*free, *runs], folder),
    }, min, 15)
    box, free = least["box"][0], least["free"][0]
    bench.table.add(f"git status, {files:,} files, at best", box, "ms", "no filter", free, "<= 1.03 x", box <= 1.03 * free)
