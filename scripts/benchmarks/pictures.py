"""Images for the benchmarks: OCI layouts with layers of real files of the host, and a registry on loopback."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time

from .measure import Unmeasured
from .workshop import ROOT, debian_tar

MEDIA_TYPE = "application/vnd.oci.image."


class Layout:
    """An OCI image layout that is written blob by blob."""

    def __init__(self, directory):
        self.directory = directory
        self.blobs = directory / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def add(self, data, media_type):
        """The descriptor of the new blob."""
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": MEDIA_TYPE + media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def layer(self, tar):
        """Packs the stream of a tar with gzip as other tools do; its descriptor and its diff id."""
        part = self.blobs / "part"
        inner, outer = hashlib.sha256(), hashlib.sha256()
        with part.open("wb") as file:
            packer = subprocess.Popen(["gzip", "-n", "-6"], stdin=subprocess.PIPE, stdout=file)
            while chunk := tar.read(1 << 20):
                inner.update(chunk)
                packer.stdin.write(chunk)
            packer.stdin.close()
            if packer.wait() != 0:
                raise SystemExit("bench: gzip failed")
        with part.open("rb") as file:
            while chunk := file.read(1 << 20):
                outer.update(chunk)
        size = part.stat().st_size
        part.rename(self.blobs / outer.hexdigest())
        return ({"mediaType": MEDIA_TYPE + "layer.v1.tar+gzip", "digest": f"sha256:{outer.hexdigest()}", "size": size},
                f"sha256:{inner.hexdigest()}")

    def small_layer(self, name, text):
        """A layer with one file."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        return (self.add(gzip.compress(out.getvalue(), mtime=0), "layer.v1.tar+gzip"),
                f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}")

    def image(self, name, layers):
        """`layers` are pairs as `layer` gives them."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        config = {"architecture": machine, "os": "linux", "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                  "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}}
        manifest = {"schemaVersion": 2, "mediaType": MEDIA_TYPE + "manifest.v1+json",
                    "config": self.add(json.dumps(config).encode(), "config.v1+json"), "layers": [layer for layer, _ in layers]}
        descriptor = self.add(json.dumps(manifest).encode(), "manifest.v1+json")
        self.manifests.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})

    def close(self):
        index = {"schemaVersion": 2, "mediaType": MEDIA_TYPE + "index.v1+json", "manifests": self.manifests}
        (self.directory / "index.json").write_text(json.dumps(index))


@contextlib.contextmanager
def host_files(root, megabytes):
    """A stream of a tar: that much of the files below `root`, always the same."""
    names, total = [], 0
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                names.append(path)
                total += os.stat(path).st_size
        if total > megabytes << 20:
            break
    with tempfile.NamedTemporaryFile() as list_file:
        list_file.write("\0".join(names).encode(errors="surrogateescape"))
        list_file.flush()
        argv = ["tar", "--create", "--file=-", "--mtime=@0", "--numeric-owner", "--no-recursion", "--hard-dereference",
                "--transform=s,^/*,opt/bench/,", "--absolute-names", "--null", f"--files-from={list_file.name}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as packer:
            yield packer.stdout


def large_image():
    """A layout with an image of some 460 MB in three layers (`big`), made once; the same with another last layer
    (`changed`); and that last layer alone (`alone`)."""
    directory = ROOT / "target/bench/large-image"
    if not directory.exists():
        part = directory.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        layout = Layout(part)
        with debian_tar().open("rb") as tar:
            base = layout.layer(tar)
        with host_files("/usr/lib", 600) as tar:
            libraries = layout.layer(tar)
        with host_files("/usr/share", 345) as tar:
            shared = layout.layer(tar)
        with host_files("/usr/bin", 300) as tar:
            other = layout.layer(tar)
        layout.image("big", [base, libraries, shared])
        layout.image("changed", [base, libraries, other])
        layout.image("alone", [other])
        layout.close()
        part.rename(directory)
    return directory


def many_images(directory, count):
    """A layout with `count` images `0`, `1`, ..., each the Debian tree and a layer of its own."""
    layout = Layout(directory)
    with debian_tar().open("rb") as tar:
        base = layout.layer(tar)
    for number in range(count):
        layout.image(f"localhost/many:{number}", [base, layout.small_layer("etc/number", str(number).encode())])
    layout.close()


@contextlib.contextmanager
def registry(directory):
    """Debian's docker-registry with nothing in it; its `HOST:PORT`."""
    if not shutil.which("docker-registry"):
        raise Unmeasured("docker-registry is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    directory.mkdir()
    config = directory / "config.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
    process = subprocess.Popen(["docker-registry", "serve", config], env={"OTEL_TRACES_EXPORTER": "none"}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
