"""What all parts share: the users, the Debian tree, the projects, and that nothing of them is left behind."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import Runner, Table, Unmeasured, find_process

ROOT = Path(__file__).resolve().parent.parent.parent
USER = "devbox-range"


def debian_tar():
    """A minimal Debian of the host's own release, made once."""
    tar = ROOT / "target/bench/debian.tar"
    if not tar.exists():
        print("bench: making a minimal Debian with mmdebstrap, once", file=sys.stderr)
        release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)[1]
        tar.parent.mkdir(parents=True, exist_ok=True)
        part = tar.with_suffix(".part.tar")
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", release, str(part)], check=True)
        part.rename(tar)
    return tar


@contextlib.contextmanager
def scratch_directory():
    """A directory of its own; as root on a new ext4. A file system that was in use keeps away from inodes that were freed
    just now, by a build of the tests say, and without a journal searches minutes long for others: that would be measured.
    """
    # /var/tmp is on a disk, where people keep their projects; /tmp may be memory.
    with tempfile.TemporaryDirectory(prefix="devbox-bench.", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        if os.getuid() != 0:
            yield directory
            return
        image, mount = directory / "disk", directory / "d"  # a short name, see `Runner.podman`
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(24 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            mount.chmod(0o755)
            yield mount
        finally:
            subprocess.run(["umount", "--lazy", mount], check=True)
    if directory.exists():
        raise SystemExit(f"bench: left behind: {directory}")


class Bench:
    def __init__(self, scratch, quick):
        self.scratch = scratch
        self.quick = quick
        self.samples = 5 if quick else 31
        self.table = Table()
        self.boxes = []
        self.started = []
        self.binary = scratch / "devbox"
        self.tar = scratch / "debian.tar"
        self.user = Runner(USER if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name, scratch)
        self.root = Runner("root", scratch) if os.getuid() == 0 else None
        # The same tree for the peers. Device nodes are not for ordinary users, and no peer wants them.
        self.tree = self.user.home / "tree"
        self.user.time(["mkdir", self.tree])
        self.user.time(["tar", "-x", "-f", self.tar, "-C", self.tree, "--no-same-owner", "--exclude=./dev/*"])
        self.docker_command = None
        self.docker_image = None

    def project(self, name, base):
        """An empty project with the base that the line of TOML names."""
        folder = self.user.home / name
        self.user.time(["mkdir", folder])
        profile = self.scratch / "profile.toml"
        profile.write_text(f"{base}\n")
        profile.chmod(0o644)
        self.user.time(["cp", profile, folder / "devbox.toml"])
        self.boxes.append(folder)
        return folder

    def debian(self, name):
        folder = self.project(name, f'rootfs = "{self.tar}"')
        # A base outside the project asks for trust once.
        self.devbox(folder, "profile", "trust")
        return folder

    def devbox(self, folder, *args):
        return self.user.time([self.binary, *args], folder)

    def stop(self, folder):
        """Waits for the end of the box; that it is not running is no failure."""
        self.user.output([self.binary, "stop"], folder)

    def cold_run(self, folder, network):
        self.stop(folder)
        return self.devbox(folder, "run", "--network", network, "--", "true")

    @staticmethod
    def sleep(number):
        """A command that nobody else runs, another bench neither."""
        return f"sleep {86_400 + number}.{os.getpid()}"

    def keep(self, runner, argv, command, cwd=None):
        """Starts `argv .. command` and waits until `command` runs; its pid."""
        process = runner.start([*argv, *command.split()], cwd)
        self.started.append(process)
        deadline = time.monotonic() + 60
        while True:
            try:
                return find_process(command)
            except Unmeasured:
                if process.poll() is not None:
                    raise Unmeasured(f"`{argv[0]} {argv[1]} .. {command}` ended with status {process.returncode}") from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def check(self):
        """Without this a binary that does nothing would win every race."""
        self.folder = self.debian("shop")
        output = self.user.output([self.binary, "run", "--network", "none", "--", "id", "-u"], self.folder)
        if (output.returncode, output.stdout) != (0, "0\n"):
            raise SystemExit(f"bench: `devbox run -- id -u` as {self.user.name} gave status {output.returncode}, "
                             f"{output.stdout!r}\n{output.stderr}")

    def remove(self, folder):
        """The project's box."""
        self.boxes.remove(folder)
        result = self.user.output([self.binary, "rm", "--force"], folder)
        if result.returncode != 0:
            print(f"bench: devbox rm in {folder.name}: {result.stderr.strip()}", file=sys.stderr)

    @staticmethod
    def podman_base(runner):
        # Its default for a user without settings copies whole trees (vfs), which would be no race.
        return ["podman", "--root", runner.podman / "root", "--runroot", runner.podman / "run", "--storage-driver", "overlay"]

    @classmethod
    def podman_running(cls, runner):
        """As `podman_base`, for what runs: without these rootless podman wants cgroups that many machines lack."""
        return [*cls.podman_base(runner), "--runtime", "runc", "--cgroup-manager", "cgroupfs"]

    def docker(self):
        """Who talks to docker's daemon, and the command line to begin with. As root that is a daemon of the bench's own."""
        runner = self.root or self.user
        if self.docker_command is None:
            if not shutil.which("docker"):
                raise Unmeasured("docker is not installed")
            own = self.root is not None and shutil.which("dockerd")
            command = self.start_docker() if own else ["docker"]
            runner.time([*command, "version"])  # fails without a daemon
            self.docker_command = command
        return runner, self.docker_command

    def start_docker(self):
        place, socket = self.scratch / "docker", f"unix://{self.scratch}/docker.sock"
        daemon = self.root.start(["dockerd", "--data-root", place / "data", "--exec-root", place / "exec", "--pidfile", place / "pid",
                                  "--host", socket, "--bridge=none", "--iptables=false", "--ip6tables=false"])
        self.started.append(daemon)
        command = ["docker", "--host", socket]
        deadline = time.monotonic() + 60
        while self.root.output([*command, "version"]).returncode != 0 and time.monotonic() < deadline:
            if daemon.poll() is not None:
                raise Unmeasured(f"dockerd ended with status {daemon.returncode}")
            time.sleep(0.1)
        return command

    def close(self):
        if self.docker_image:
            runner, command = self.docker()
            runner.output([*command, "rmi", "--force", self.docker_image])
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for folder in list(self.boxes):
            self.remove(folder)
        for runner in filter(None, [self.user, self.root]):
            # Layers of podman belong to subuids, and can be removed only from inside the user's namespace.
            if (runner.podman / "root").exists():
                runner.output([*self.podman_base(runner), "rmi", "--all", "--force"])
                remove = ["rm", "-rf", runner.podman / "root", runner.podman / "run"]
                runner.output(remove if runner is self.root else ["podman", "unshare", *remove])
            # Rootless podman leaves a process that holds its namespaces, and with them every mount.
            pause = runner.home / "run/libpod/tmp/pause.pid"
            if pause.exists():
                os.kill(int(pause.read_text()), signal.SIGKILL)
            runner.close()
        if self.root is None:
            # So do layers of devbox. In single mode there are none, and what this misses is the user's own.
            self.user.output(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", self.user.home])
