//! The real binary, run with a home and a project folder of the test's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::{self, DirBuilder};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::background::Background;
use super::processes::{wait_end, wait_until_none};
use super::terminal::Terminal;
use super::{Identity, binary, environment, identity, shared};

/// A user's directories for one test: `home`, `run` and `project` below one directory. Its boxes are removed at the end.
pub struct Devbox {
    root: tempfile::TempDir,
    data: PathBuf,
    env: BTreeMap<OsString, OsString>,
}

impl Default for Devbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Devbox {
    /// A user who has never run devbox, in an empty project folder.
    pub fn new() -> Self {
        // A short name: the sockets of boxes lie below, and a socket's path has 107 bytes.
        let root = tempfile::Builder::new().prefix("db.").tempdir().expect("a temporary directory");
        for name in ["home", "run", "project"] {
            DirBuilder::new().mode(0o700).create(root.path().join(name)).expect("a directory");
        }
        symlink(binary(), root.path().join("devbox")).expect("a link to the binary");
        let data = root.path().join("home/.local/share/devbox");
        let mut test = Self { root, data, env: BTreeMap::new() };
        for (name, value) in [
            ("HOME", test.home()),
            ("XDG_RUNTIME_DIR", test.path("run")),
            ("XDG_DATA_HOME", test.home().join(".local/share")),
            ("XDG_CONFIG_HOME", test.home().join(".config")),
            ("XDG_CACHE_HOME", test.home().join(".cache")),
        ] {
            test.env.insert(name.into(), value.into());
        }
        for (name, value) in [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm-256color"),
        ] {
            test.env.insert(name.into(), value.into());
        }
        // The way to the network, where the machine sits behind a proxy.
        for name in ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"]
        {
            if let Some(value) = environment(name) {
                test.env.insert(name.into(), value);
            }
        }
        test
    }

    /// A project on the host base, without a network. Its data directory is that of all tests of this user, because
    /// the base takes long to make: other tests' boxes are listed beside its own.
    pub fn host() -> Self {
        static MADE: Once = Once::new();
        MADE.call_once(|| {
            Self::shared("base = \"host\"\n[network]\nmode = \"none\"\n").sh("true").any_stderr().run();
        });
        Self::shared("base = \"host\"\n[network]\nmode = \"none\"\n")
    }

    /// A project with this profile, and the data directory of all tests.
    pub fn shared(profile: &str) -> Self {
        let mut test = Self::new();
        test.data = shared().join("devbox");
        test.env("XDG_DATA_HOME", shared());
        test.profile(profile);
        test
    }

    /// A path below the test's own directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The project folder.
    pub fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// `$XDG_DATA_HOME/devbox`.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Writes a file of the project, with its parent directories.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        fs::write(path, content).expect("write a file");
        self
    }

    /// Writes `devbox.toml`.
    pub fn profile(&self, content: &str) -> &Self {
        self.file("devbox.toml", content)
    }

    /// A root file system of a few files in the folder `name` of the project: `busybox` under some of its names.
    pub fn root_with_busybox(&self, name: &str) -> &Self {
        let root = self.project().join(name);
        for directory in ["bin", "etc", "usr", "tmp", "root"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("the package `busybox-static`");
        for program in ["sh", "cat", "echo", "id", "ls", "mkdir", "rm", "test", "touch", "true"] {
            symlink("busybox", root.join("bin").join(program)).expect("a link");
        }
        self
    }

    /// A variable for every later command.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// The binary with `args`, in the project folder; by itself it expects status 0 and no output.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Run<'_> {
        Run {
            test: self,
            command: self.command(args),
            stdin: Vec::new(),
            stdout: Some(String::new()),
            stderr: Some(String::new()),
            status: 0,
        }
    }

    /// `devbox run -- sh -c SCRIPT`.
    pub fn sh(&self, script: &str) -> Run<'_> {
        self.args(["run", "--", "sh", "-c", script])
    }

    /// The binary as a plain command, for tests that hold its streams themselves.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Command {
        // The path marks every fork of the binary as this test's: see `processes::belonging_to`.
        let mut command = Command::new(self.path("devbox"));
        command.args(args).current_dir(self.project()).env_clear().envs(&self.env);
        command
    }

    /// Another program with the variables of the test's own home.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.project()).env_clear().envs(&self.env);
        command
    }

    /// The binary in a terminal of its own.
    pub fn terminal<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I, rows: u16, columns: u16) -> Terminal {
        Terminal::spawn(&self.command(args), rows, columns)
    }

    /// `devbox run -- sh -c SCRIPT`, beside the test.
    pub fn background(&self, script: &str) -> Background {
        self.background_with(&[], script)
    }

    /// As [`Self::background`], with options of `devbox run`.
    pub fn background_with(&self, options: &[&str], script: &str) -> Background {
        Background::start(self.command([&["run"], options, &["--", "sh", "-c", script]].concat()))
    }

    /// The directories of the boxes that this test has made so far.
    pub fn boxes(&self) -> Vec<PathBuf> {
        let own = self.root.path().to_str().expect("a test's directory has a plain name");
        // Another test's box may be made or removed meanwhile.
        let is_own = |path: &PathBuf| {
            let is_private = self.data.starts_with(self.root.path());
            is_private || fs::read_to_string(path.join("box.json")).is_ok_and(|record| record.contains(own))
        };
        fs::read_dir(self.data.join("boxes"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_own).collect())
            .unwrap_or_default()
    }

    /// Removes the project's box, and says what of it is left.
    fn clean(&self) -> Result<(), String> {
        let mut complaints = String::new();
        if !self.boxes().is_empty() {
            // A test may have removed or hidden the project folder or its profile.
            let is_project = |path: &PathBuf| *path == self.project() || path.join("devbox.toml").exists();
            for folder in subdirectories(self.root.path()).into_iter().filter(is_project) {
                let mut run = self.args(["rm", "--force"]);
                run.command.current_dir(folder);
                let output = run.output();
                if !output.status.success() {
                    complaints += &format!("devbox rm --force: {}\n{}", output.status, output.stderr);
                }
            }
            // One box needs one success only.
            let left = self.boxes();
            if left.is_empty() {
                complaints.clear();
            } else {
                complaints += &format!("boxes left on disk: {left:?}\n");
            }
        }
        let left = wait_until_none(self.root.path());
        if !left.is_empty() {
            complaints += &format!("processes left: {left:#?}\n");
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }
}

/// The directories directly below `path`.
fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect()
}

impl Drop for Devbox {
    #[expect(clippy::print_stderr, reason = "shown with the test's own failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            for place in self.boxes() {
                // The only witness of what went on beside the command that failed.
                let log = fs::read_to_string(place.join("log/events.jsonl")).unwrap_or_default();
                eprintln!("events of {}:\n{log}", place.display());
            }
        }
        let cleaned = self.clean();
        // Overlay leaves a `work/work` of mode 0 behind, which its owner may open up and remove.
        make_removable(self.root.path());
        // Layers of a user with subordinate ids belong to those.
        if identity() == Identity::Range && fs::remove_dir_all(self.root.path()).is_err() {
            let mut remove = Command::new("unshare");
            remove.args(["--user", "--map-auto", "--map-root-user", "rm", "-rf"]).arg(self.root.path());
            remove.status().ok();
        }
        if !thread::panicking() {
            cleaned.expect("the test leaves nothing behind");
        }
    }
}

/// Gives the owner access to every directory below `path` that is the user's own.
fn make_removable(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
        && fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_ok()
    {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            make_removable(&entry.path());
        }
    }
}

/// What a command printed, with the test's own directory written as `[TEST]`, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Standard output, byte by byte.
    pub stdout_bytes: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
}

/// One run of the binary and what is expected of it.
#[must_use = "nothing is run before `run` or `output`"]
pub struct Run<'a> {
    test: &'a Devbox,
    command: Command,
    stdin: Vec<u8>,
    stdout: Option<String>,
    stderr: Option<String>,
    status: i32,
}

impl Run<'_> {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// What it reads; nothing by default.
    pub fn stdin(mut self, content: impl AsRef<[u8]>) -> Self {
        self.stdin = content.as_ref().to_vec();
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in another folder than the project.
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Expects exactly this on standard output.
    pub fn stdout(mut self, expected: impl Into<String>) -> Self {
        self.stdout = Some(expected.into());
        self
    }

    /// Expects exactly this on standard error.
    pub fn stderr(mut self, expected: impl Into<String>) -> Self {
        self.stderr = Some(expected.into());
        self
    }

    /// Accepts anything on standard output.
    pub fn any_stdout(mut self) -> Self {
        self.stdout = None;
        self
    }

    /// Accepts anything on standard error.
    pub fn any_stderr(mut self) -> Self {
        self.stderr = None;
        self
    }

    /// Expects this exit status; -n for a death by signal n.
    pub fn status(mut self, expected: i32) -> Self {
        self.status = expected;
        self
    }

    /// Runs it and compares everything at once, so that a failure shows all that differs.
    #[track_caller]
    pub fn run(self) -> Output {
        let (stdout, stderr, status) = (self.stdout.clone(), self.stderr.clone(), self.status);
        let shown = format!("{:?}", self.command.get_args().collect::<Vec<_>>());
        let output = self.output();
        let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        let expected =
            (status, stdout.unwrap_or_else(|| output.stdout.clone()), stderr.unwrap_or_else(|| output.stderr.clone()));
        if (code, &output.stdout, &output.stderr) != (expected.0, &expected.1, &expected.2) {
            panic!(
                "devbox {shown}\n--- expected: status {}\nstdout:\n{}\nstderr:\n{}\n--- got: status {code}\nstdout:\n{}\nstderr:\n{}",
                expected.0, expected.1, expected.2, output.stdout, output.stderr
            );
        }
        output
    }

    /// Runs it and compares nothing.
    #[track_caller]
    pub fn output(mut self) -> Output {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("start the binary");
        let deadline = Instant::now() + PATIENCE;

        let mut stdin = child.stdin.take().expect("a pipe");
        let content = std::mem::take(&mut self.stdin);
        // A command that does not read all of its input closes the pipe, which is its right.
        thread::spawn(move || stdin.write_all(&content).ok());
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));

        let ended = wait_end(child.id(), deadline);
        let status = finish(&mut child, ended);
        let what = format!("{:?}", self.command.get_args().collect::<Vec<_>>());
        let stdout_bytes = received(&stdout, ended, deadline, &what);
        let stderr_bytes = received(&stderr, ended, deadline, &what);
        let own = self.test.root.path().to_str().expect("a test's directory has a plain name");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(own, "[TEST]");
        let (stdout, stderr) = (text(&stdout_bytes), text(&stderr_bytes));
        assert!(ended, "devbox {what} ran longer than {PATIENCE:?}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        Output { stdout, stderr, stdout_bytes, status }
    }
}

/// Reaps `child`, which is killed first unless it has ended.
fn finish(child: &mut Child, ended: bool) -> ExitStatus {
    if !ended {
        child.kill().expect("kill a child");
    }
    child.wait().expect("reap a child")
}

/// Reads a pipe to its end beside the test.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let complete = pipe.read_to_end(&mut bytes);
        // Nobody listens any more when the test has failed already.
        sender.send(complete.map(|_| bytes).unwrap_or_default()).ok();
    });
    receiver
}

/// The pipe's content. A detached process that kept the client's stream would hold it open for ever.
#[track_caller]
fn received(pipe: &mpsc::Receiver<Vec<u8>>, ended: bool, deadline: Instant, what: &str) -> Vec<u8> {
    let patience = if ended { deadline.saturating_duration_since(Instant::now()) } else { Duration::from_secs(1) };
    match pipe.recv_timeout(patience) {
        Ok(bytes) => bytes,
        Err(_) if ended => panic!("devbox {what} ended, but something still holds its stdout or stderr"),
        Err(_) => Vec::new(),
    }
}
