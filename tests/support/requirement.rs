//! `require!(Userns, Overlay, Program("tmux"))`: a test that cannot run here says why.
//!
//! A requirement is probed with other programs than devbox, so that a bug of ours cannot pass for a missing feature.
//! What is missing skips the test with a printed reason, and is a failure with `DEVBOX_TEST_REQUIRE=all`. What the user
//! of this run lacks on purpose (subuids for `plain`) makes the test not applicable, which never fails.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::{Identity, environment, identity};

/// Something that a test needs of the machine or of the user it runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The host's root.
    Root,
    /// Any user but the host's root.
    Ordinary,
    /// An ordinary user with a subuid range and `newuidmap`.
    Subuid,
    /// An ordinary user without a range.
    NoSubuid,
    /// User namespaces, with all others inside.
    Userns,
    /// Overlay inside a user namespace.
    Overlay,
    /// Data-only lower layers inside a user namespace (Linux 6.16).
    DataOnly,
    /// `fuse-overlayfs` and a usable `/dev/fuse`.
    FuseOverlayfs,
    /// `pasta` and a usable `/dev/net/tun`.
    Pasta,
    /// `slirp4netns` and a usable `/dev/net/tun`.
    Slirp,
    /// The distribution's mirror answers.
    Mirror,
    /// The machine of `scripts/test-vm`.
    Vm,
    /// The host of `tests/fixtures/egress/lab.sh`.
    Lab,
    /// A program on `PATH`.
    Program(&'static str),
    /// A module of the distribution's own Python.
    Python(&'static str),
    /// A package of npm's, beside that of the program `devcontainer`.
    Node(&'static str),
}

/// Returns from the test when something it needs is missing; takes variants of [`Requirement`].
#[macro_export]
macro_rules! require {
    ($($name:ident $(($argument:expr))?),+ $(,)?) => {
        if !$crate::support::requirement::met(
            $crate::test_name!(),
            &[$($crate::support::requirement::Requirement::$name $(($argument))?),+],
        ) {
            return;
        }
    };
}

/// The path of the function that this stands in. The thread's name will not do: it is "main" with one test thread.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}

/// Checks `requirements` for `test`, and reports the first that is not met.
pub fn met(test: &str, requirements: &[Requirement]) -> bool {
    for requirement in requirements {
        if let Some(reason) = requirement.excluded_for(identity()) {
            report(&format!("N/A {test}: {reason}"));
            return false;
        }
        if let Err(reason) = requirement.probe_once() {
            assert!(
                environment("DEVBOX_TEST_REQUIRE").is_none_or(|value| value != "all"),
                "{test} must not be skipped with DEVBOX_TEST_REQUIRE=all: {reason}"
            );
            report(&format!("SKIP {test}: {reason}"));
            return false;
        }
    }
    true
}

/// Past the capture of the test harness, which would hide a skip.
fn report(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("write to stderr");
}

impl Requirement {
    /// Why the user of this run is not meant to have it.
    fn excluded_for(self, identity: Identity) -> Option<&'static str> {
        match (self, identity) {
            (Self::Root, Identity::Range | Identity::Plain) => Some("only for root"),
            (Self::Ordinary, Identity::Root) => Some("only for ordinary users"),
            (Self::Subuid, Identity::Root | Identity::Plain) => Some("only for a user with subuids"),
            (Self::NoSubuid, Identity::Root | Identity::Range) => Some("only for a user without subuids"),
            (Self::Vm, _) if environment("DEVBOX_TEST_VM").is_none() => {
                Some("only in the machine of `scripts/test-vm`")
            }
            _ => None,
        }
    }

    /// Asks the machine once per test executable.
    fn probe_once(self) -> Result<(), String> {
        static ANSWERS: Mutex<Option<HashMap<Requirement, Result<(), String>>>> = Mutex::new(None);
        let mut answers = ANSWERS.lock().expect("no probe panics");
        answers.get_or_insert_default().entry(self).or_insert_with(|| self.probe()).clone()
    }

    fn probe(self) -> Result<(), String> {
        match self {
            Self::Root | Self::Ordinary | Self::NoSubuid | Self::Vm => Ok(()),
            Self::Lab if environment("DEVBOX_TEST_LAB").is_some() => Ok(()),
            Self::Lab => Err("it runs on the host that `scripts/test-run` makes as root".to_owned()),
            Self::Subuid => {
                shell("unshare --user --map-auto --map-root-user true || { echo no subuid range; exit 1; }")
            }
            Self::Userns => shell("unshare -U -m -p -n -i -u -C --map-root-user --fork true"),
            Self::Overlay => {
                in_mounts("mount -t overlay overlay -o userxattr,lowerdir=low,upperdir=up,workdir=work top")
            }
            Self::DataOnly => in_mounts("mount -t overlay overlay -o userxattr,lowerdir=low::data top")
                .map_err(|error| format!("data-only layers need Linux 6.16: {error}")),
            Self::FuseOverlayfs => device("/dev/fuse").and_then(|()| program("fuse-overlayfs")),
            Self::Pasta => device("/dev/net/tun").and_then(|()| program("pasta")),
            Self::Slirp => device("/dev/net/tun").and_then(|()| program("slirp4netns")),
            Self::Mirror => shell(
                "uri=$(apt-get download --print-uris hello | cut -d\"'\" -f2) && cd \"$(mktemp -d)\" && \
                 /usr/lib/apt/apt-helper -o Acquire::Retries=2 download-file \"$uri\" hello.deb; \
                 status=$?; rm -f hello.deb; rmdir \"$PWD\"; exit $status",
            )
            .map_err(|error| format!("the distribution's mirror does not answer: {error}")),
            Self::Program(name) => program(name),
            Self::Node(name) => match super::node_modules().map(|place| place.join(name)) {
                Some(place) if place.exists() => Ok(()),
                _ => Err(format!("`{name}` of npm's packages is not installed")),
            },
            Self::Python(module) => shell(&format!("/usr/bin/python3 -c 'import {module}'")),
        }
    }
}

fn program(name: &str) -> Result<(), String> {
    which::which(name).map(|_| ()).map_err(|_| format!("`{name}` is not installed"))
}

fn device(path: &str) -> Result<(), String> {
    std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .map(|_| ())
        .map_err(|error| format!("cannot open `{path}`: {error}"))
}

/// Runs `mount` in a user and mount namespace, in a directory with `low`, `data`, `up`, `work` and `top`.
fn in_mounts(mount: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    for name in ["low", "data", "up", "work", "top"] {
        std::fs::create_dir(directory.path().join(name)).map_err(|error| error.to_string())?;
    }
    shell(&format!("cd '{}' && unshare -U -m --map-root-user {mount}", directory.path().display()))
}

/// The first line of what a failing `script` said.
fn shell(script: &str) -> Result<(), String> {
    let output = Command::new("sh")
        .args(["-c", script])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Err(said.lines().find(|line| !line.trim().is_empty()).map_or_else(|| output.status.to_string(), str::to_owned))
}
