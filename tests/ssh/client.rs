//! An ssh client that knows one box.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::devbox::Devbox;
use crate::support::files::wait_for_change;
pub use crate::support::programs::{ended, output};

/// A box, and what clients are told of it.
pub struct Client {
    pub test: Devbox,
    name: String,
}

impl Client {
    /// A box on the host base, with more in its profile. It does not run.
    pub fn new(profile: &str) -> Self {
        let mut client = Self { test: Devbox::shared(""), name: String::new() };
        // Boxes of other tests lie in the same directory.
        let unique = client.test.path("").file_name().expect("a name").to_string_lossy().replace('.', "-");
        client.name = unique;
        let profile = format!("name = \"{}\"\nbase = \"host\"\n{profile}[network]\nmode = \"none\"\n", client.name);
        client.test.profile(&profile);
        client.test.args(["profile", "trust"]).any_stdout().any_stderr().run();
        client.test.sh("true").any_stderr().run();
        let text = client.test.args(["ssh-config", "print"]).any_stdout().run().stdout;
        // Through the link that marks the processes of this test.
        let program = text.lines().find_map(|line| line.trim().strip_prefix("ProxyCommand '")?.split('\'').next());
        let own = client.test.path("devbox").to_string_lossy().into_owned();
        fs::write(client.config(), text.replace(program.expect("a program"), &own)).expect("write");
        client
    }

    /// What comes after `ssh -F`.
    pub fn config(&self) -> PathBuf {
        self.test.path("ssh_config")
    }

    /// The host's name for clients.
    pub fn host(&self) -> String {
        format!("{}.devbox", self.name)
    }

    /// `program` with the environment of the test's user.
    pub fn program(&self, program: &str) -> Command {
        let mut command = self.test.program(program);
        command.current_dir(self.test.path(""));
        command
    }

    /// `ssh OPTIONS HOST SCRIPT`.
    pub fn ssh(&self, options: &[&str], script: &str) -> Command {
        let mut command = self.program("ssh");
        command.arg("-F").arg(self.config()).args(options).arg(self.host());
        if !script.is_empty() {
            command.arg(script);
        }
        command
    }

    /// Runs `script`; returns its status, output and errors.
    #[track_caller]
    pub fn run(&self, options: &[&str], script: &str) -> (i32, String, String) {
        ended(self.ssh(options, script), b"")
    }

    /// A running ssh client that others share, at this path; ends when dropped.
    pub fn master(&self) -> Master {
        let path = self.test.path("master");
        let mut command = self.ssh(&["-M", "-N", "-S", path.to_str().expect("a plain name")], "");
        let mut child = command.stdin(Stdio::piped()).spawn().expect("start ssh");
        // It gets this name when it listens.
        wait_for_change(&self.test.path(""), "a master", || {
            assert!(child.try_wait().expect("wait").is_none(), "ssh has ended");
            path.exists()
        });
        Master { child, path }
    }
}

pub struct Master {
    child: Child,
    pub path: PathBuf,
}

impl Drop for Master {
    fn drop(&mut self) {
        // A signal that comes before it waits would be forgotten.
        self.child.kill().expect("kill a child");
        self.child.wait().expect("reap a child");
    }
}

/// Bytes that are no text.
pub fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fs::File::open("/dev/urandom").expect("open a device").read_exact(&mut bytes).expect("read a device");
    bytes
}

/// `path` as an argument.
pub fn text(path: &impl AsRef<OsStr>) -> &str {
    path.as_ref().to_str().expect("a plain name")
}
