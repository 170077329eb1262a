//! What the tests of the real binary share: requirements, a home of their own for each test, a terminal.
//!
//! `scripts/test-run` sets the environment read here:
//! `DEVBOX_BIN` (the binary; cargo's own build otherwise), `DEVBOX_TEST_AS` (`root`, `range` or `plain`),
//! `DEVBOX_TEST_REQUIRE` (`all`: a skip is a failure), `DEVBOX_TEST_FIXTURES` (a copy of `tests/fixtures`),
//! `DEVBOX_TEST_STORE` (where what takes long to make is kept for all tests of one user), `DEVBOX_TEST_LAB` (what the servers
//! around the host of `tests/egress` saw, and its `resolv.conf`).

pub mod background;
pub mod devbox;
pub mod devcontainer;
pub mod disk;
pub mod fault_proxy;
pub mod files;
pub mod processes;
pub mod programs;
pub mod registry;
pub mod requirement;
pub mod terminal;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long anything that a test waits for may take, a package manager's work included. It ends what is stuck and says
/// nothing of how fast devbox is: the machine may be slow, and others may use it.
pub const PATIENCE: Duration = Duration::from_secs(400);

/// Whom the tests run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The host's root.
    Root,
    /// An ordinary user with subuids.
    Range,
    /// An ordinary user without.
    Plain,
}

/// What `DEVBOX_TEST_AS` says; without it, root or an ordinary user of whom nothing is expected.
pub fn identity() -> Identity {
    match environment("DEVBOX_TEST_AS").as_deref().and_then(|value| value.to_str()) {
        Some("root") => Identity::Root,
        Some("range") => Identity::Range,
        Some("plain") => Identity::Plain,
        Some(other) => panic!("DEVBOX_TEST_AS is `{other}`, not root, range or plain"),
        None if rustix::process::getuid().is_root() => Identity::Root,
        None => Identity::Plain,
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    environment("DEVBOX_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_devbox")), PathBuf::from)
}

/// A directory that all tests of this user share, for what takes seconds to make.
pub fn shared() -> PathBuf {
    let path = environment("DEVBOX_TEST_STORE").map_or_else(
        || std::env::temp_dir().join(format!("devbox-test-{}", rustix::process::getuid().as_raw())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    environment("DEVBOX_TEST_FIXTURES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), PathBuf::from)
        .join(name)
}

/// Where `scripts/test-setup` keeps packages of npm's.
pub fn node_modules() -> Option<PathBuf> {
    let program = which::which("devcontainer").ok()?.canonicalize().ok()?;
    program.ancestors().find(|place| place.ends_with("node_modules")).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the tests are told by the environment what to run as")]
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
