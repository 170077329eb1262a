//! Contexts and sources from elsewhere: archives behind URLs, and private repositories over SSH.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::own::content;
use super::pair::{built, devbox_with_base};
use crate::support::devbox::Devbox;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::registry::run;

fn sh(directory: &Path, script: &str) {
    run(Command::new("sh").args(["-ec", script]).current_dir(directory));
}

/// A repository of one commit with `f` and `d/g`.
fn repository(test: &Devbox) -> PathBuf {
    test.file("repo.git/f", "one\n").file("repo.git/d/g", "two\n");
    let path = test.project().join("repo.git");
    sh(&path, "git init -q && git add . && git -c user.name=x -c user.email=x@x commit -qm x");
    path
}

#[test]
fn archives() {
    crate::require!(Userns, Overlay);
    let test = devbox_with_base();
    test.file("c/f", "archived\n").file("c/Containerfile", "FROM localhost/base\nCOPY f /f\n");
    sh(&test.project(), "tar -C c -cf c.tar . && echo none > none");
    let server = FaultProxy::start(1);
    let read = |name: &str| String::from_utf8(std::fs::read(test.project().join(name)).expect("a file")).expect("text");
    server.add("GET /c.tar", Fault::Answer("200 OK", Vec::new(), read("c.tar")), 10);
    server.add("GET /none", Fault::Answer("200 OK", Vec::new(), read("none")), 10);
    let url = format!("http://{}/c.tar", server.name());
    // As the context, and as another one.
    test.args(["image", "build", "-t", "localhost/it", &url]).any_stdout().any_stderr().run();
    assert_eq!(content(&built(&test, "it").0, "f"), "archived\\n");
    test.file("next/Containerfile", "FROM localhost/base\nCOPY --from=more f /more\n");
    let more = format!("more={url}");
    let next = ["image", "build", "-t", "localhost/next", "--build-context", &more, "next"];
    test.args(next).any_stdout().any_stderr().run();
    assert_eq!(content(&built(&test, "next").0, "more"), "archived\\n");
    let none = format!("http://{}/none", server.name());
    let said = test.args(["image", "build", &none]).status(1).any_stderr().run().stderr;
    assert!(said.contains(&format!("the build context `{none}` is no archive that can be read")), "{said}");
    let left = std::fs::read_dir(test.data().join("store/tmp")).expect("a directory").count();
    assert_eq!(left, 1, "only the lock");
}

/// A real `sshd` that serves one connection after another, and an agent with the key that it takes.
struct Ssh {
    place: tempfile::TempDir,
    port: u16,
    agent: Child,
}

impl Ssh {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        sh(place.path(), "for k in host key; do ssh-keygen -q -t ed25519 -N '' -f $k; done; cp key.pub authorized");
        if rustix::process::getuid().is_root() {
            // Where it confines itself.
            std::fs::create_dir_all("/run/sshd").expect("a directory");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let at = |name: &str| place.path().join(name).display().to_string();
        let host = std::fs::read_to_string(at("host.pub")).expect("a key");
        std::fs::write(at("known"), format!("[127.0.0.1]:{port} {host}")).expect("a file");
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n",
            at("host"),
            at("authorized")
        );
        std::fs::write(at("config"), config).expect("a file");
        let config = at("config");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (input, output) = (client.try_clone().expect("a descriptor"), client);
                let mut sshd = Command::new("/usr/sbin/sshd");
                sshd.args(["-i", "-f", &config]).stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output));
                // It ends with the connection.
                sshd.stderr(Stdio::null()).status().expect("sshd");
            }
        });
        let script = format!("ssh-add -q {} && echo ready && cat", at("key"));
        let mut agent = Command::new("ssh-agent");
        agent.args(["-a", &at("agent"), "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut agent = agent.stderr(Stdio::null()).spawn().expect("ssh-agent");
        let said = BufReader::new(agent.stdout.take().expect("a pipe")).lines().next().expect("a line");
        assert_eq!(said.expect("text"), "ready");
        Self { place, port, agent }
    }

    /// What `git` is to call, and where the agent is.
    fn client(&self) -> (String, String) {
        let at = |name: &str| self.place.path().join(name).display().to_string();
        let command = format!("ssh -F none -o BatchMode=yes -o UserKnownHostsFile={}", at("known"));
        (command, at("agent"))
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // Its shell ends with the pipe, and it with that.
        drop(self.agent.stdin.take());
        self.agent.wait().expect("the end of ssh-agent");
    }
}

#[test]
fn private_repositories() {
    crate::require!(Userns, Overlay, Program("git"), Program("ssh-agent"), Program("/usr/sbin/sshd"));
    let mut test = devbox_with_base();
    let ssh = Ssh::start();
    let (command, agent) = ssh.client();
    test.env("GIT_SSH_COMMAND", command);
    let user = Command::new("id").arg("-un").output().expect("id").stdout;
    let user = String::from_utf8(user).expect("text").trim().to_owned();
    let url = format!("ssh://{user}@127.0.0.1:{}{}", ssh.port, repository(&test).display());
    let file = format!("FROM localhost/base\nADD {url} /r\nCOPY --from=named g /named\n");
    test.file("c/Containerfile", file);
    let (context, agent) = (format!("named={url}#:d"), format!("default={agent}"));
    let build = ["image", "build", "-t", "localhost/it", "--build-context", &context, "c"];
    let said = test.args(build).status(1).any_stderr().run().stderr;
    assert!(said.contains("cannot fetch the repository") && said.contains("Permission denied"), "{said}");
    test.args(build).arg("--ssh").arg(&agent).any_stdout().any_stderr().run();
    let tree = built(&test, "it").0;
    assert_eq!((content(&tree, "r/f"), content(&tree, "named")), ("one\\n".into(), "two\\n".into()));
    // As the context.
    let said = test.args(["image", "build", "--ssh", &agent, &url]).status(1).any_stderr().run().stderr;
    assert!(said.contains("there is no `Containerfile`"), "{said}");
}
