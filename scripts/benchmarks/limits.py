"""Limits: what looking at boxes costs."""

import os
import time
from pathlib import Path

INTERVAL_S = 2


def cpu_seconds(pid):
    """Processor time of a running process, its own alone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stats(bench):
    """`devbox stats` beside 50 running boxes, for half a minute."""
    count = 10 if bench.quick else 50
    for number in range(count):
        folder = bench.debian(f"watched-{number}")
        bench.devbox(folder, "run", "--network", "none", "--keep", "--", "true")
    watcher = bench.user.start([bench.binary, "stats", "--format", "json", "--interval", str(INTERVAL_S)])
    bench.started.append(watcher)
    time.sleep(2 * INTERVAL_S)
    before, begun = cpu_seconds(watcher.pid), time.monotonic()
    time.sleep(6 if bench.quick else 30)
    share = 100 * (cpu_seconds(watcher.pid) - before) / (time.monotonic() - begun)
    lines = bench.user.output([bench.binary, "stats", "--once", "--format", "json"], bench.user.home).stdout.splitlines()
    shown = sum("watched-" in line for line in lines)
    bench.table.add(f"stats of {count} boxes, each {INTERVAL_S} s", share, "% CPU", f"{shown} shown", None, "<= 1 %",
                   share <= 1 and shown == count)
