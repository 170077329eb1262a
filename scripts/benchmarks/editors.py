"""What editors and terminals wait for: shims, ssh with its shared connection and its files, the first prompt in tmux."""

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

from .measure import Unmeasured, race

SSHD = "/usr/sbin/sshd"
PATIENCE_S = 60


def editors(bench):
    folder = bench.project("editors", 'name = "editors"\nbase = "host"\nshell = "/bin/bash"\n[network]\nmode = "none"')
    bench.keep(bench.user, [bench.binary, "run", "--"], bench.sleep(len(bench.boxes)), folder)
    shims(bench, folder)
    if not shutil.which("ssh"):
        raise Unmeasured("ssh is not installed")
    config = write(bench, "ssh_config", bench.user.output([bench.binary, "ssh-config", "print"], folder).stdout)
    ways = {"box": (config, "editors.devbox"), "sshd": (sshd(bench), "peer")}
    login(bench, ways)
    files(bench, ways)
    prompt(bench, folder)


def write(bench, name, text):
    """A file that the bench's user may read."""
    path = bench.scratch / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def shims(bench, folder):
    place = bench.user.home / "bin"
    bench.devbox(folder, "shim", "add", "--dir", place, "true")
    medians = race(bench.samples, {
        "shim": lambda: bench.user.time([place / "true"], folder),
        "run": lambda: bench.devbox(folder, "run", "--", "true"),
    })
    above = medians["shim"] - medians["run"]
    bench.table.add("a shim, box running", medians["shim"], "ms", "devbox run", medians["run"], f"<= 2 ms more ({above:+.1f})",
                   above <= 2)


def sshd(bench):
    """The configuration of a client of OpenSSH's own server, started as devbox's is."""
    if not shutil.which(SSHD):
        raise Unmeasured("sshd is not installed")
    key = bench.user.home / "key"
    bench.user.time(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    public = bench.user.output(["cat", f"{key}.pub"]).stdout
    write(bench, "authorized", public)
    write(bench, "known", f"peer {public}")
    write(bench, "sshd_config", f"HostKey {key}\nAuthorizedKeysFile {bench.scratch}/authorized\nStrictModes no\nUsePAM no\n"
          "PidFile none\nSubsystem sftp internal-sftp\n")
    return write(bench, "peer_config", f"Host peer\n ProxyCommand {SSHD} -i -f {bench.scratch}/sshd_config\n User {bench.user.name}\n"
                 f" IdentityFile {key}\n UserKnownHostsFile {bench.scratch}/known\n Ciphers ^aes128-gcm@openssh.com\n LogLevel ERROR\n")


def login(bench, ways):
    """Logins one after the other, and then over a connection that is there: what ends of the one kind would slow the other."""
    def ssh(who, *options):
        config, host = ways[who]
        return ["ssh", "-F", config, *options, host]

    alone = race(bench.samples, {who: lambda who=who: bench.user.time([*ssh(who), "true"]) for who in ways})
    bench.table.add("ssh NAME.devbox true", alone["box"], "ms", "sshd -i", alone["sshd"], "<= 60 ms", alone["box"] <= 60)
    paths = {who: bench.user.home / f"master-{who}" for who in ways}
    for who, path in paths.items():
        master = bench.user.start(ssh(who, "-M", "-N", "-S", path))
        bench.started.append(master)
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            if master.poll() is not None or time.monotonic() > deadline:
                raise Unmeasured("ssh does not become a master")
            time.sleep(0.01)
    shared = race(bench.samples, {who: lambda who=who: bench.user.time([*ssh(who, "-S", paths[who]), "true"]) for who in ways})
    bench.table.add("the same over ControlMaster", shared["box"], "ms", "sshd -i", shared["sshd"], "<= 10 ms", shared["box"] <= 10)


def files(bench, ways):
    """By sftp, to and from a disk; the peer is OpenSSH's own server, started in the same way."""
    mebibytes = 256 if bench.quick else 1024
    home = bench.user.home
    content, copy = home / "content", home / "copy"
    bench.user.time(["dd", "if=/dev/urandom", f"of={content}", "bs=1M", f"count={mebibytes}"])
    places = {"box": "/root/content", "sshd": home / "content.peer"}

    def copying(who, text):
        (settings, host), there = ways[who], places[who]
        batch = write(bench, "batch", text.format(there=there))
        os.sync()  # nobody waits for what the one before has written
        return bench.user.time(["sftp", "-q", "-b", batch, "-F", settings, host]) / 1000

    rounds = 2 if bench.quick else 5
    for what, text in [("put", f"put {content} {{there}}"), ("get", f"get {{there}} {copy}")]:
        medians = race(rounds, {who: lambda who=who: copying(who, text) for who in ways})
        speeds = {who: mebibytes / seconds for who, seconds in medians.items()}
        bench.table.add(f"sftp {what}, {mebibytes} MiB", speeds["box"], "MiB/s", "sshd -i", speeds["sshd"], ">= 0.7 x sshd",
                       speeds["box"] >= 0.7 * speeds["sshd"])
        if what == "get":
            bench.user.time(["cmp", content, copy])


def prompt(bench, folder):
    if not shutil.which("tmux"):
        raise Unmeasured("tmux is not installed")
    medians = race(bench.samples, {
        "box": lambda: first_prompt(bench, folder, f"{bench.binary} enter", b"(editors) "),
        "bare": lambda: first_prompt(bench, folder, "/bin/bash", b"$ "),
    })
    above = medians["box"] - medians["bare"]
    bench.table.add("first prompt in tmux, box running", medians["box"], "ms", "bash", medians["bare"],
                   f"<= 30 ms more ({above:+.1f})", above <= 30)


def first_prompt(bench, folder, shell, text):
    """Milliseconds from the start of tmux to `text` on its screen."""
    user = bench.user
    socket = user.home / "tmux"
    master, slave = pty.openpty()
    env = {**user.env, "TERM": "xterm-256color", "SHELL": "/bin/bash", "PS1": "$ "}
    started = time.perf_counter()
    client = subprocess.Popen(["setsid", "--ctty", "tmux", "-S", socket, "-f", "/dev/null", "new-session", shell], cwd=folder, env=env,
                              stdin=slave, stdout=slave, stderr=slave, **user.who)
    try:
        seen = b""
        while text not in seen:
            if not select.select([master], [], [], PATIENCE_S)[0]:
                raise Unmeasured(f"`{shell}` shows no prompt in tmux")
            seen += os.read(master, 65536)
        return (time.perf_counter() - started) * 1000
    finally:
        user.output(["tmux", "-S", socket, "kill-server"])
        client.wait()
        os.close(master)
        os.close(slave)
        Path(socket).unlink(missing_ok=True)
