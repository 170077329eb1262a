"""Runs commands as one user and times them; `measure.Runner` starts it, from a copy that every user can read."""

import json
import os
import signal
import sys
import time


def worker():
    """Runs the commands that arrive as lines of JSON, and answers with the milliseconds each took, its processors' time
    and its peak memory (those of its children that it waited for included).

    A process of its own for each user: between the two clock readings lie only spawn, the command and wait.
    """
    for line in sys.stdin:
        job = json.loads(line)
        os.chdir(job["cwd"])
        error_file = os.path.join(job["scratch"], f"stderr-{os.getuid()}")
        files = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, error_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        started = time.perf_counter()
        # Python ignores SIGPIPE, which a command would inherit; pasta even refuses to start so.
        pid = os.posix_spawnp(job["argv"][0], job["argv"], job["env"], file_actions=files,
                              setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        _, status, used = os.wait4(pid, 0)
        ms = (time.perf_counter() - started) * 1000
        with open(error_file, errors="replace") as file:
            said = file.read().strip()
        answer = {"ms": ms, "cpu_ms": (used.ru_utime + used.ru_stime) * 1000, "peak_mib": used.ru_maxrss / 1024,
                  "status": os.waitstatus_to_exitcode(status), "stderr": said[-2000:]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    worker()
