"""Images: pull and push of a large one, and a store with many."""

import os
import shutil
import subprocess

from .measure import Unmeasured, race
from .pictures import large_image, many_images, registry


def copy(layout, name, registry_name):
    """Pushes an image of a layout with somebody else's program."""
    subprocess.run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:{name}", f"docker://{registry_name}/{name}"],
                   check=True)


class Puller:
    """A box on an image that is not here yet, and what is to be removed between two measurements."""

    def __init__(self, bench, registry_name):
        self.bench = bench
        self.registry = registry_name
        self.folder = bench.project("puller", f'image = "{registry_name}/big"')
        self.peak_mib = 0

    def forget(self):
        """Also waits until the disk has it: nobody is to wait for what the one before has written."""
        for args in [["rm", "--force"], ["gc", "--all"]]:
            self.bench.user.output([self.bench.binary, *args], self.folder)
        for name in ["big", "changed", "alone"]:
            self.bench.user.output([self.bench.binary, "image", "rm", f"{self.registry}/{name}"], self.folder)
        self.bench.user.output([self.bench.binary, "gc", "--all"], self.folder)
        os.sync()

    def pull(self, name):
        answer = self.bench.user.measure([self.bench.binary, "image", "pull", f"{self.registry}/{name}"], self.folder)
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        return answer["ms"]


def pull(bench):
    samples = 1 if bench.quick else 3
    layout = large_image()
    with registry(bench.scratch / "registry") as address:
        for name in ["big", "changed", "alone"]:
            copy(layout, name, address)
        puller = Puller(bench, address)

        def usable_box():
            puller.forget()
            return bench.devbox(puller.folder, "run", "--network", "none", "--", "true")

        def podman():
            base = bench.podman_base(bench.user)
            bench.user.output([*base, "rmi", "--all", "--force"])
            os.sync()
            return bench.user.time([*base, "pull", "--quiet", "--tls-verify=false", f"{address}/big"])

        def docker():
            runner, command = bench.docker()
            runner.output([*command, "rmi", "--force", f"{address}/big"])
            return runner.time([*command, "pull", "--quiet", f"{address}/big"])

        def changed():
            puller.forget()
            puller.pull("big")
            os.sync()  # nobody waits for what the one before has written
            return puller.pull("changed")

        def alone():
            puller.forget()
            return puller.pull("alone")

        contestants = {"devbox": usable_box}
        for program, function in [("podman", podman), ("docker", docker)]:
            try:
                if program == "docker":
                    bench.docker()
                elif not shutil.which(program):
                    raise Unmeasured(f"{program} is not installed")
                contestants[program] = function
            except Unmeasured as error:
                bench.table.missing(f"pull of 460 MB, against {program}", error)
        seconds = {name: ms / 1000 for name, ms in race(samples, contestants).items()}
        for program, share in [("podman", 5), ("docker", 2.5)]:
            if program in seconds:
                bench.table.add("pull of 460 MB into a box", seconds["devbox"], "s", program, seconds[program], f"<= 1/{share} of {program}",
                                seconds["devbox"] <= seconds[program] / share)
        parts = {name: ms / 1000 for name, ms in race(samples, {"changed": changed, "alone": alone}).items()}
        bench.table.add("pull, one layer changed", parts["changed"], "s", "that layer alone", parts["alone"], "<= 1.1 x that layer",
                        parts["changed"] <= 1.1 * parts["alone"])
        bench.table.add("pull, peak memory", puller.peak_mib, "MiB", "", None, "<= 64 MiB", puller.peak_mib <= 64)
        push(bench, puller, samples)
        puller.forget()


def push(bench, puller, samples):
    """Into a registry that has nothing of it, each time."""
    puller.pull("big")
    source = f"{puller.registry}/big"

    def to_new_registry(function):
        with registry(bench.scratch / "empty") as address:
            return function(f"{address}/pushed")

    contestants = {"devbox": lambda: to_new_registry(
        lambda name: bench.devbox(puller.folder, "image", "push", source, name))}
    storage = ["buildah", *bench.podman_base(bench.user)[1:]]
    try:
        if not shutil.which("buildah"):
            raise Unmeasured("buildah is not installed")
        bench.user.time([*storage, "pull", "--quiet", "--tls-verify=false", source])
        contestants["buildah"] = lambda: to_new_registry(
            lambda name: bench.user.time([*storage, "push", "--quiet", "--tls-verify=false", source, f"docker://{name}"]))
    except Unmeasured as error:
        bench.table.missing("push of 460 MB, against buildah", error)
    seconds = {name: ms / 1000 for name, ms in race(samples, contestants).items()}
    if "buildah" in seconds:
        bench.table.add("push of 460 MB", seconds["devbox"], "s", "buildah", seconds["buildah"], "<= 1/2 of buildah",
                        seconds["devbox"] <= seconds["buildah"] / 2)


def store(bench):
    """What looks at the whole store, when it holds much."""
    images, boxes = (20, 5) if bench.quick else (200, 50)
    layout = bench.scratch / "many"
    many_images(layout, images)
    folder = bench.project("store", 'base = "host"')
    bench.devbox(folder, "image", "load", layout)
    for number in range(boxes):
        box = bench.project(f"store-{number}", f'image = "localhost/many:{number}"')
        bench.devbox(box, "run", "--network", "none", "--", "true")
    commands = {"list": ["list"], "image list": ["image", "list"], "df": ["df"], "gc": ["gc"]}
    contestants = {name: (lambda args=args: bench.devbox(folder, *args)) for name, args in commands.items()}
    for name, ms in race(max(3, bench.samples // 3), contestants).items():
        bench.table.add(f"{name}: {images} images, {boxes} boxes", ms, "ms", "", None, "<= 200 ms", ms <= 200)
