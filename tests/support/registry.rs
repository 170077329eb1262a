//! Debian's `docker-registry` on a loopback port of its own, with the content of one test.

use super::PATIENCE;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// A running registry; killed when dropped.
pub struct Registry {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

/// What a registry asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// User and password.
    pub login: Option<(&'static str, &'static str)>,
    /// TLS, with a certificate from [`Registry::authority`] for `localhost`, `registry.test` and 127.0.0.1.
    pub tls: bool,
    /// With TLS: clients need a certificate, such as [`Registry::client`].
    pub knows_clients: bool,
}

impl Registry {
    /// Open to everybody, without TLS.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// As `options` say.
    pub fn with(options: Options) -> Self {
        let directory = tempfile::Builder::new().prefix("registry.").tempdir().expect("a temporary directory");
        let root = directory.path();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            root.join("data").display()
        );
        if let Some((user, password)) = options.login {
            let table = run(Command::new("htpasswd").args(["-B", "-b", "-n", "-C", "4", user, password]));
            fs::write(root.join("htpasswd"), table).expect("write a file");
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", root.join("htpasswd").display());
        }
        config += "http:\n  addr: 127.0.0.1:0\n";
        if options.tls {
            make_certificate(root);
            let (certificate, key) = (root.join("server.crt"), root.join("server.key"));
            let clients = match options.knows_clients {
                true => format!(", clientcas: [{}]", root.join("authority.crt").display()),
                false => String::new(),
            };
            config += &format!("  tls: {{certificate: {}, key: {}{clients}}}\n", certificate.display(), key.display());
        }
        fs::write(root.join("config.yml"), config).expect("write a file");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(root.join("config.yml")).current_dir(root).env_clear();
        let mut child = command
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the package `docker-registry`");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let port = listening_port(log);
        Self { child, directory, port }
    }

    /// `localhost:PORT`, as references have it.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for a registry with TLS.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.crt")
    }

    /// The certificate and the key of a client.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("client.crt"), self.directory.path().join("client.key"))
    }

    /// Where the registry keeps a blob.
    pub fn blob(&self, hexadecimal: &str) -> PathBuf {
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hexadecimal[..2]).join(hexadecimal).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().expect("kill a child");
        self.child.wait().expect("reap a child");
    }
}

/// The port in "listening on 127.0.0.1:43210"; the rest of the log is read and dropped, so that the registry can write.
fn listening_port(log: impl BufRead + Send + 'static) -> u16 {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            // Nobody listens after the port is known.
            sender.send(line).ok();
        }
    });
    let mut said = String::new();
    while let Ok(line) = receiver.recv_timeout(PATIENCE) {
        if let Some((_, after)) = line.split_once("listening on 127.0.0.1:") {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            return digits.parse().expect("a port");
        }
        said += &line;
        said.push('\n');
    }
    panic!("docker-registry does not listen:\n{said}");
}

/// An authority, and certificates of a server and a client from it.
fn make_certificate(root: &Path) {
    let subject = |name: &str| format!("/CN={name}");
    let mut authority = Command::new("openssl");
    authority.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    authority.args(["-subj", &subject("test authority"), "-keyout", "authority.key", "-out", "authority.crt"]);
    run(authority.current_dir(root));
    for (name, common) in [("server", "localhost"), ("client", "somebody")] {
        let mut request = Command::new("openssl");
        request.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        request.args(["-subj", &subject(common), "-CA", "authority.crt", "-CAkey", "authority.key"]);
        request.args(["-addext", "subjectAltName=DNS:localhost,DNS:registry.test,IP:127.0.0.1"]);
        request.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        request.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        run(request.current_dir(root));
    }
}

/// What a program prints that must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    // Without it skopeo looks for logins where an ordinary user may not look.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
