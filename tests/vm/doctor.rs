//! The diagnoses of `devbox doctor`, each on a machine that really has the fault; and the way out that it names, taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::require;
use crate::support::binary;

/// An ordinary user of the machine, with a systemd of his own or without.
struct User {
    uid: &'static str,
    home: &'static str,
}

const DEV: User = User { uid: "1000", home: "/home/dev" };

impl User {
    /// Runs the binary; returns what it printed on both streams, and its status.
    fn devbox(&self, directory: &str, args: &[&str]) -> (String, i32) {
        let output = Command::new("setpriv")
            .args(["--reuid", self.uid, "--regid", self.uid, "--clear-groups", "--inh-caps=-all", "env", "-i"])
            .arg(format!("HOME={}", self.home))
            .args(["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TERM=dumb"])
            .arg(binary())
            .args(args)
            .current_dir(directory)
            .output()
            .expect("setpriv");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap_or(-1))
    }

    /// What `doctor` says of one check: the state, the summary and the remedy.
    #[track_caller]
    fn finding(&self, name: &str) -> String {
        let (report, _) = self.devbox("/", &["doctor"]);
        let mut lines = report.lines().skip_while(|line| line.get(9..9 + name.len()) != Some(name));
        let head = lines.next().unwrap_or_else(|| panic!("no {name} in {report}"));
        let remedy = lines.next().filter(|line| line.trim_start().starts_with("->")).unwrap_or_default();
        format!("{head}\n{remedy}")
    }

    #[track_caller]
    fn says(&self, name: &str, parts: &[&str]) {
        let finding = self.finding(name);
        for part in parts {
            assert!(finding.contains(part), "`{part}` is not in: {finding}");
        }
    }
}

/// A setting of the kernel, put back when dropped.
struct Sysctl {
    file: String,
    before: String,
}

impl Sysctl {
    /// `None` where this kernel does not have it.
    fn set(name: &str, value: &str) -> Option<Self> {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&file).ok()?;
        fs::write(&file, value).expect("set a sysctl");
        Some(Self { file, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(&self.file, &self.before).expect("put a sysctl back");
    }
}

fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().expect("sh");
    assert!(status.success(), "{script}");
}

#[test]
fn a_sound_machine_has_no_blocker() {
    require!(Vm, Root);
    let (report, status) = DEV.devbox("/", &["doctor"]);
    assert_eq!(status, 0, "{report}");
    DEV.says("namespaces", &["ok", "user namespaces work"]);
    DEV.says("subuids", &["ok", "65536 subordinate uids"]);
    DEV.says("newuidmap", &["ok"]);
    DEV.says("network", &["ok"]);
}

#[test]
fn no_user_namespaces() {
    require!(Vm, Root);
    {
        let _restricted = Sysctl::set("user.max_user_namespaces", "0");
        DEV.says(
            "namespaces",
            &["BLOCKER", "`user.max_user_namespaces` is 0", "sudo sysctl -w user.max_user_namespaces="],
        );
    }
    if let Some(_restricted) = Sysctl::set("kernel.unprivileged_userns_clone", "0") {
        DEV.says("namespaces", &["BLOCKER", "sudo sysctl -w kernel.unprivileged_userns_clone=1"]);
        let (text, status) = DEV.devbox("/tmp", &["run", "--", "true"]);
        assert!(status == 125 && text.contains("kernel.unprivileged_userns_clone=1"), "{text}");
    }
    // Ubuntu's kernels have it.
    if let Some(_restricted) = Sysctl::set("kernel.apparmor_restrict_unprivileged_userns", "1") {
        DEV.says("apparmor", &["BLOCKER", "apparmor_parser"]);
    }
    DEV.says("namespaces", &["ok"]);
}

#[test]
fn id_mappers() {
    require!(Vm, Root);
    sh("chmod u-s /usr/bin/newuidmap; setcap -r /usr/bin/newuidmap 2>/dev/null || :");
    DEV.says("newuidmap", &["BLOCKER", "has lost its privilege", "sudo setcap cap_setuid=ep /usr/bin/newuidmap"]);
    sh("chmod u+s /usr/bin/newuidmap; mv /usr/bin/newgidmap /usr/bin/newgidmap.away");
    DEV.says("newuidmap", &["warning", "`newgidmap` is missing", "apt-get install uidmap"]);
    sh("mv /usr/bin/newgidmap.away /usr/bin/newgidmap");
    let plain = User { uid: "1001", home: "/home/plain" };
    plain.says("subuids", &["warning", "0 subordinate uids", "usermod --add-subuids"]);
    DEV.says("newuidmap", &["ok"]);
}

#[test]
fn network_device() {
    require!(Vm, Root);
    sh("chmod 0600 /dev/net/tun");
    DEV.says("network", &["warning", "/dev/net/tun"]);
    sh("chmod 0666 /dev/net/tun");
    DEV.says("network", &["ok"]);
}

#[test]
fn controllers_that_are_not_delegated() {
    require!(Vm, Root);
    DEV.says("cgroups", &["warning", "`io_read`, `io_write`", "Delegate=cpu cpuset io memory pids"]);
    // Just as it is said there; the restart stands for logging in anew.
    sh("mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' \
        > /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload && systemctl restart user@1000");
    DEV.says("cgroups", &["ok", "version 2, delegated"]);
}

#[test]
fn no_systemd_of_the_users_own() {
    require!(Vm, Root);
    sh("id alone 2>/dev/null || useradd --create-home --uid 1005 alone");
    let alone = User { uid: "1005", home: "/home/alone" };
    alone.says("cgroups", &["warning", "no bus at `/run/user/1005/bus`", "loginctl enable-linger"]);

    // It can be worked with, which is said once; and not where the limits are required.
    let project = Path::new("/home/alone/shop");
    fs::create_dir_all(project.join("root/bin")).expect("a directory");
    fs::copy("/bin/busybox", project.join("root/bin/sh")).expect("busybox");
    let profile = "rootfs = \"./root\"\n[network]\nmode = \"none\"\n[limits]\nmemory = \"1GiB\"\n";
    fs::write(project.join("devbox.toml"), profile).expect("write");
    sh("chown -R alone: /home/alone");
    let run = || alone.devbox("/home/alone/shop", &["run", "--", "/bin/sh", "-c", "echo in"]);
    let (first, second) = (run(), run());
    assert!(first.0.starts_with("in\n") && first.0.contains("`memory` of `[limits]` does not hold here"), "{first:?}");
    assert_eq!(second, ("in\n".to_owned(), 0));
    fs::write(project.join("devbox.toml"), format!("{profile}require = true\n")).expect("write");
    let (text, status) = run();
    assert!(status == 125 && text.contains("loginctl enable-linger"), "{text}");

    // The way out that was named.
    sh("loginctl enable-linger alone; systemctl start user@1005.service");
    assert_eq!(run(), ("in\n".to_owned(), 0));
    alone.devbox("/home/alone/shop", &["rm", "--force"]);
}
