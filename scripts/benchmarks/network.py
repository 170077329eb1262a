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
# Of nobody too: the links into two boxes.
LINKS = "203.0.113"
# Below what the kernel gives to clients, one of which would have it now and then.
PORT, INBOUND = "27001", "27002"


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
    """A running box on the host's base, which has python3 and git; and the pid of a process in it."""
    folder = bench.project(name, f'base = "host"\n[network]\nmode = "private"\n{network}')
    bench.devbox(folder, "profile", "trust")
    bench.user.time(["cp", bench.scratch / "peer.py", folder / "peer.py"])
    return folder, bench.keep(bench.user, [bench.binary, "run", "--"], bench.sleep(len(bench.boxes)), folder)


@contextlib.contextmanager
def link(number, pid):
    """A link of the host's root into the network of a box, as fast as the kernel; the host's address on it."""
    name, inside = f"devbox-bench{number}", ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    host, box = (f"{LINKS}.{4 * number + end}" for end in [1, 2])
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", str(pid)], check=True)
    try:
        for ip, address in [(["ip"], host), (inside, box)]:
            subprocess.run([*ip, "address", "add", f"{address}/30", "dev", name], check=True)
            subprocess.run([*ip, "link", "set", name, "up"], check=True)
        yield host
    finally:
        subprocess.run(["ip", "link", "del", name], check=True)


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
        folder, pid = project(bench, "network", "")
        ask = ["python3", "peer.py", "ask", ADDRESS, PORT, "up", "down"]
        # Connections through the pasta of Debian 12 stall at random, whoever starts it: what it does at best can be compared.
        best = in_turns(bench, {
            "pasta": lambda: numbers(bench, ["pasta", "--config-net", "--", *ask], folder),
            "box": lambda: numbers(bench, [bench.binary, "run", "--", *ask], folder),
        }, of_the_best, 25)
        for number, way in enumerate(["sent", "received"]):
            pasta, box = (best[name][number] for name in ["pasta", "box"])
            if 0 in [pasta, box]:
                bench.table.missing(f"private network, {way}", "every connection through pasta stood still")
                continue
            bench.table.add(f"private network, {way}, at best", box, "Gbit/s", "pasta", pasta, ">= 0.9 x pasta", box >= 0.9 * pasta)
        egress(bench, folder, pid)
    agent(bench)
    inbound(bench)


def egress(bench, folder, pid):
    """The box beside one with a list, where no pasta is in the way."""
    listed_folder, listed_pid = project(bench, "egress", f'egress = ["{LINKS}.0/24"]')
    with link(0, pid) as plain, link(1, listed_pid) as listed:

        def ask(folder, address, *whats):
            return lambda: numbers(bench, [bench.binary, "run", "--", "python3", "peer.py", "ask", address, PORT, *whats], folder)

        flow = in_turns(bench, {"box": ask(folder, plain, "up", "down"), "egress": ask(listed_folder, listed, "up", "down")}, rounds=15)
        connection = in_turns(bench, {"box": ask(folder, plain, "connect"), "egress": ask(listed_folder, listed, "connect")})
    for number, way in enumerate(["sent", "received"]):
        box, listed = (flow[name][number] for name in ["box", "egress"])
        bench.table.add(f"egress list, {way}", listed, "Gbit/s", "none", box, ">= 0.95 x none", listed >= 0.95 * box)
    box, listed = (connection[name][0] for name in ["box", "egress"])
    bench.table.add("egress list, a connection", listed, "us", "none", box, f"<= 1000 us more ({listed - box:+.0f})", listed - box <= 1000)


def agent(bench):
    """Of the box with a list: its agent does most."""
    for name in ["devbox: network", "devbox: dialer"]:
        found = [pid for pid, (_, command) in processes().items() if command == name]
        if not found:
            raise Unmeasured(f"there is no `{name}`")
        kib = max(pss_kib(pid) for pid in found)
        bench.table.add(f"`{name}`, PSS", kib / 1024, "MiB", "", None, "", None)


def inbound(bench):
    folder, _ = project(bench, "ports", f'ports = ["{INBOUND}:{INBOUND}"]\nforward = "off"')
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
    folder, _ = project(bench, "large", "")
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
