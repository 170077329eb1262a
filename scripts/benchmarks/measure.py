"""Users that run and time commands, races between commands, and the table of the results."""

import json
import os
import pwd
import re
import statistics
import subprocess
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unmeasured(Exception):
    """A figure cannot be had here; the text says why."""


class Runner:
    """A user, and that user's worker."""

    def __init__(self, user, scratch):
        account = pwd.getpwnam(user)
        self.name = user
        self.home = scratch / f"home-{user}"
        self.scratch = scratch / f"scratch-{user}"
        self.podman = scratch / f"p{account.pw_uid}"  # a short name: podman allows 50 characters
        self.who = {}
        if os.getuid() != account.pw_uid:
            groups = os.getgrouplist(user, account.pw_gid)
            self.who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
        for directory in [self.home, self.home / "run", self.scratch, self.podman]:
            directory.mkdir(mode=0o700)
            os.chown(directory, account.pw_uid, account.pw_gid)
        self.env = {
            "HOME": str(self.home), "USER": user, "LOGNAME": user, "PATH": PATH, "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.home / "run"), "TERM": "dumb",
        }
        self.worker = subprocess.Popen(
            ["python3", str(scratch / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=self.env, cwd="/", **self.who)

    def time(self, argv, cwd=None):
        """Milliseconds that `argv` took; it must succeed."""
        return self.measure(argv, cwd)["ms"]

    def measure(self, argv, cwd=None):
        job = {"argv": [str(arg) for arg in argv], "cwd": str(cwd or self.home), "env": self.env, "scratch": str(self.scratch)}
        self.worker.stdin.write(json.dumps(job) + "\n")
        self.worker.stdin.flush()
        line = self.worker.stdout.readline()
        if not line:
            raise Unmeasured(f"`{argv[0]}` cannot be started")
        answer = json.loads(line)
        if answer["status"] != 0:
            said = (answer["stderr"].splitlines() or ["no message"])[0]
            raise Unmeasured(f"`{' '.join(job['argv'][:4])} ..` as {self.name}: status {answer['status']}: {said}")
        return answer

    def start(self, argv, cwd=None):
        """A process that runs on beside the measurements."""
        return subprocess.Popen([str(arg) for arg in argv], cwd=cwd or self.home, env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.who)

    def output(self, argv, cwd=None):
        return subprocess.run([str(arg) for arg in argv], cwd=cwd or self.home, env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, **self.who)

    def close(self):
        self.worker.stdin.close()
        self.worker.wait()


def race(samples, contestants):
    """Medians of {name: function that returns milliseconds}, taken in turns, so that the machine's moods hit all alike."""
    times = {name: [] for name in contestants}
    for number in range(samples + 1):
        for name, function in contestants.items():
            ms = function()
            if number > 0:  # the first of each warms caches
                times[name].append(ms)
    return {name: statistics.median(values) for name, values in times.items()}


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, peer, peer_value, target, is_met):
        """`target` in words; `is_met` None where there is none."""
        ratio = f"{value / peer_value:.3g}" if peer_value else ""
        shown = f"{peer} {peer_value:.1f} {unit}" if peer_value else peer
        verdict = "" if is_met is None else "OK" if is_met else "MISSED"
        self.rows.append((what, f"{value:.1f} {unit}", shown, ratio, target, verdict))

    def missing(self, what, reason):
        self.rows.append((what, "-", str(reason), "", "", "-"))

    def print(self):
        rows = [("figure", "devbox", "peer", "ratio", "target", "")] + self.rows
        # A long reason must not widen the whole table.
        widths = [max(len(row[column]) for row in rows if row[1] != "-" or column == 0) for column in range(6)]
        for number, row in enumerate(rows):
            if row[1] == "-":
                print(f"{row[0]:<{widths[0]}}  not measured: {row[2]}")
            else:
                print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())
            if number == 0:
                print("  ".join("-" * width for width in widths))


def processes():
    """pid -> (parent, command line) of everything."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            found[int(entry)] = (int(stat.rpartition(")")[2].split()[1]), command)
    return found


def find_process(command):
    """The pid of the one process with exactly this command line."""
    found = [pid for pid, (_, line) in processes().items() if line == command]
    if len(found) != 1:
        raise Unmeasured(f"{len(found)} processes are called `{command}`")
    return found[0]


def pid_inside(pid):
    """The pid that `pid` has in its innermost pid namespace."""
    return int(re.search(r"^NSpid:.*?(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def pss_kib(pid):
    try:
        return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
    except PermissionError as error:
        raise Unmeasured("only root reads the memory map of an undumpable process") from error


def available_mib():
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) // 1024
