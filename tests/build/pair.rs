//! The same build twice.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::tree::{self, OLD, Tree};
use crate::support::devbox::Devbox;
use crate::support::shared;

/// One build that is done by both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    /// For messages.
    pub name: &'static str,
    /// The Containerfile, which begins on the base of the tests unless it has a `FROM`.
    pub file: &'static str,
    /// Options that both take.
    pub options: &'static [&'static str],
    /// The context's `.dockerignore`.
    pub ignore: &'static str,
    /// Paths at which the two may differ, with the reason beside the case.
    pub except: &'static [&'static str],
}

/// What every pair has in its context.
const FILES: [(&str, &str, u32); 15] = [
    ("a.txt", "a\n", 0o644),
    ("b.txt", "b\n", 0o600),
    ("c.md", "c\n", 0o644),
    ("run.sh", "#!/bin/sh\necho run\n", 0o755),
    ("dir/x", "x", 0o644),
    ("dir/y.txt", "y", 0o640),
    ("dir/sub/z", "z", 0o644),
    ("dir/sub/z.txt", "zt", 0o644),
    ("empty/.keep", "", 0o644),
    ("with space", "space", 0o644),
    ("[odd]", "odd", 0o644),
    ("node_modules/m/index.js", "m", 0o644),
    ("dir2/x", "x2", 0o644),
    ("secret.key", "k", 0o600),
    ("ü", "umlaut", 0o644),
];

/// Makes the context.
pub fn context(at: &Path, ignore: &str) {
    use std::os::unix::fs::PermissionsExt;
    for (name, content, mode) in FILES {
        let path = at.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    for (target, name) in [("a.txt", "link"), ("dir", "dirlink"), ("/etc/passwd", "out"), ("nowhere", "dangling")] {
        std::os::unix::fs::symlink(target, at.join(name)).expect("a link");
    }
    std::os::unix::fs::symlink("../a.txt", at.join("dir/up")).expect("a link");
    std::fs::hard_link(at.join("dir/x"), at.join("dir/hard")).expect("a link");
    set_times(at);
    let tar = |arguments: &[&str]| {
        let mtime = format!("--mtime=@{OLD}");
        let done = Command::new("tar")
            .current_dir(at)
            .args(["--sort=name", &mtime, "--owner=5:5", "--group=6:6"])
            .args(arguments)
            .status();
        assert!(done.expect("tar").success());
    };
    tar(&["-cf", "plain.tar", "dir/x", "dir/sub"]);
    tar(&["-czf", "packed.tar.gz", "a.txt", "link"]);
    tar(&["-cJf", "packed.tar.xz", "c.md"]);
    std::fs::write(at.join("broken.tar.gz"), "no archive").expect("a file");
    set_times(at);
    if !ignore.is_empty() {
        std::fs::write(at.join(".dockerignore"), ignore).expect("a file");
    }
}

/// Makes all files below `at` as old as [`OLD`].
pub fn set_times(at: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(OLD);
    for entry in std::fs::read_dir(at).expect("a directory").flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            set_times(&entry.path());
        } else if kind.is_file() {
            std::fs::File::open(entry.path()).expect("a file").set_modified(old).expect("a time");
        }
    }
}

/// A root file system of busybox.
const BASE: &str = "FROM scratch
ADD base.tar /
ENV PATH=/bin:/usr/local/bin BASE=yes
CMD [\"sh\"]
";

fn base_archive(at: &Path) {
    let script = "mkdir -p bin etc dev proc sys run tmp root home/app usr/local/bin var/log srv && chmod 1777 tmp \
        && chmod 700 root && cp /bin/busybox bin/busybox && for p in $(bin/busybox --list); do \
        [ $p = busybox ] || ln -s busybox bin/$p; done && ln -s /run var/run \
        && printf 'root:x:0:0:root:/root:/bin/sh\\napp:x:1000:1001::/home/app:/bin/sh\\n' >etc/passwd \
        && printf 'root:x:0:\\napps:x:1001:\\nextra:x:1002:app\\n' >etc/group \
        && touch etc/hosts etc/hostname etc/resolv.conf && owners='--owner=0 --group=0' \
        && if [ $(id -u) = 0 ]; then chown -R 1000:1001 home/app; owners=; fi \
        && find . -exec touch -h -d @1500000000 {} + && tar $owners -cf ../base.tar .";
    let root = at.join("root");
    std::fs::create_dir_all(&root).expect("a directory");
    assert!(Command::new("sh").current_dir(&root).args(["-ec", script]).status().expect("sh").success());
}

/// A directory for something that lives as long as this program: nobody drops it, so that it lies where everything of
/// the tests is removed.
pub fn lasting() -> tempfile::TempDir {
    tempfile::tempdir_in(shared()).expect("a directory")
}

/// The context of the base.
pub fn base() -> &'static Path {
    static BASE_CONTEXT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = BASE_CONTEXT.get_or_init(|| {
        let directory = lasting();
        base_archive(directory.path());
        std::fs::write(directory.path().join("Containerfile"), BASE).expect("a file");
        directory
    });
    directory.path()
}

/// buildah with a store of this test run's own.
pub struct Buildah {
    directory: tempfile::TempDir,
    driver: &'static str,
}

impl Buildah {
    /// One that has the base.
    fn get() -> &'static Self {
        static BUILDAH: OnceLock<Buildah> = OnceLock::new();
        BUILDAH.get_or_init(|| {
            let buildah = Self { directory: lasting(), driver: "vfs" };
            let at = base();
            let done =
                buildah.run(&["bud", "--isolation", "chroot", "--format", "docker", "-t", "localhost/base", "."], at);
            assert!(done.0, "{}", done.1);
            buildah
        })
    }

    /// An empty one that stacks layers: copies of large ones would take long.
    pub fn overlay() -> Self {
        Self { directory: lasting(), driver: "overlay" }
    }

    /// Whether it succeeded, and what it said.
    pub fn run(&self, arguments: &[&str], at: &Path) -> (bool, String) {
        let path = |name: &str| self.directory.path().join(name).into_os_string();
        let output = Command::new("buildah")
            .current_dir(at)
            .args(["--storage-driver", self.driver])
            .args(["--root".into(), path("store"), "--runroot".into(), path("run")])
            .args(arguments)
            .env("SOME", "environment")
            .output()
            .expect("buildah");
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The configuration of an image.
    fn config(&self, tag: &str) -> Value {
        let inspected = self.run(&["inspect", "--type", "image", tag], self.directory.path()).1;
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        inspected["Docker"]["config"].clone()
    }

    /// The tree and the configuration of an image, of which it makes a container that stays.
    pub fn mounted(&self, tag: &str) -> (Tree, Value) {
        let at = self.directory.path();
        let (done, container) = self.run(&["from", "--pull-never", tag], at);
        assert!(done, "{container}");
        let (done, path) = self.run(&["mount", container.trim()], at);
        assert!(done, "{path}");
        (tree::of_directory(Path::new(path.trim())), self.config(tag))
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let is_own = |path: &&str| Path::new(path).starts_with(self.directory.path());
        for path in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(is_own) {
            rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).expect("unmount");
        }
    }
}

/// A place for devbox's builds, with the base of the tests.
pub fn devbox_with_base() -> Devbox {
    let mut test = Devbox::new();
    test.env("SOME", "environment");
    let base = base();
    test.args(["image", "build", "-t", "localhost/base"]).arg(base).any_stdout().any_stderr().run();
    test
}

/// The tree and the configuration of an image in devbox's store.
pub fn built(test: &Devbox, name: &str) -> (Tree, Value) {
    let store = test.data().join("store");
    let records = std::fs::read_dir(store.join("images")).expect("images");
    let record: Value = records
        .flatten()
        .map(|entry| serde_json::from_slice(&std::fs::read(entry.path()).expect("a record")).expect("JSON"))
        .find(|record: &Value| record["name"].as_str().is_some_and(|known| known.ends_with(&format!("/{name}:latest"))))
        .expect("the image");
    let (layout, layers) = record["layers"].as_object().expect("layouts").iter().next().expect("one");
    let layers: Vec<PathBuf> = layers
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| store.join("layers").join(format!("{}.{layout}/fs", layer.as_str().expect("a name"))))
        .collect();
    let blob = |digest: &Value| {
        let name = digest.as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
        serde_json::from_slice::<Value>(&std::fs::read(store.join(name)).expect("a blob")).expect("JSON")
    };
    let manifest = blob(&record["manifest"]["digest"]);
    (tree::of_layers(&layers), blob(&manifest["config"]["digest"])["config"].clone())
}

/// The configuration without what says nothing, and without what buildah adds.
fn plain(config: &Value) -> Value {
    let mut plain = serde_json::Map::new();
    for key in [
        "Env",
        "Cmd",
        "Entrypoint",
        "WorkingDir",
        "User",
        "ExposedPorts",
        "Volumes",
        "Labels",
        "StopSignal",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ] {
        let mut value = config[key].clone();
        if let Some(labels) = value.as_object_mut() {
            labels.remove("io.buildah.version");
        }
        // buildah moves variables of the base that are set again to the end; docker leaves them in their place.
        if let (Some(list), "Env") = (value.as_array_mut(), key) {
            list.sort_by_key(Value::to_string);
        }
        let says_nothing = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty() || (key == "WorkingDir" && text == "/"),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !says_nothing {
            plain.insert(key.to_owned(), value);
        }
    }
    Value::Object(plain)
}

/// What differs between two images, one line each; at `except` they may.
pub fn differences(ours: (Tree, Value), theirs: (Tree, Value), except: &[&str]) -> String {
    let [mut our_tree, mut their_tree] = [ours.0, theirs.0];
    for tree in [&mut our_tree, &mut their_tree] {
        tree.retain(|path, _| !except.iter().any(|except| path.starts_with(except)));
    }
    let mut differences = tree::differences(&our_tree, &their_tree);
    let (ours, theirs) = (plain(&ours.1), plain(&theirs.1));
    if ours != theirs {
        differences.push_str(&format!("  devbox:  {ours}\n  buildah: {theirs}\n"));
    }
    differences
}

/// Builds every pair, and fails with all that differs.
pub fn check(pairs: &[Pair]) {
    let buildah = Buildah::get();
    let test = devbox_with_base();
    let mut failures = String::new();
    for pair in pairs {
        let place = tempfile::tempdir().expect("a directory");
        context(place.path(), pair.ignore);
        let file = if pair.file.contains("FROM ") {
            pair.file.to_owned()
        } else {
            format!("FROM localhost/base\n{}", pair.file)
        };
        std::fs::write(place.path().join("Containerfile"), file).expect("a file");
        let tag = format!("localhost/{}", pair.name);

        let ours = test.args(["image", "build", "-t", &tag]).arg(place.path());
        let ours = pair.options.iter().fold(ours, |run, option| run.arg(option)).output();

        let out = place.path().join("..").canonicalize().expect("a directory").join(format!(
            "out-{}-{}",
            std::process::id(),
            pair.name
        ));
        let output = format!("type=local,dest={}", out.display());
        let mut arguments =
            vec!["bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "-t", &tag, "--output", &output];
        arguments.extend(pair.options);
        arguments.push(".");
        let (done, said) = buildah.run(&arguments, place.path());
        if !ours.status.success() || !done {
            if ours.status.success() != done || !pair.name.starts_with("fails") {
                failures.push_str(&format!(
                    "== {}: devbox {}:\n{}\nbuildah {done}:\n{said}\n",
                    pair.name, ours.status, ours.stderr
                ));
            }
            std::fs::remove_dir_all(&out).ok();
            continue;
        }
        let theirs = (tree::of_directory(&out), buildah.config(&tag));
        let differences = differences(built(&test, pair.name), theirs, pair.except);
        if !differences.is_empty() {
            failures.push_str(&format!("== {}\n{differences}", pair.name));
        }
        std::fs::remove_dir_all(&out).ok();
        buildah.run(&["rmi", &tag], place.path());
    }
    assert!(failures.is_empty(), "{failures}");
}
