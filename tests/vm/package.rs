//! The Debian package, on a machine that has never seen devbox.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::require;
use crate::support::binary;

/// Runs a script as root.
#[track_caller]
fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{text}");
    text
}

/// Runs a command line as the ordinary user `dev` in a project, with what is on everybody's `PATH`.
fn as_dev(line: &str) -> Output {
    Command::new("setpriv")
        .args(["--reuid", "1000", "--regid", "1000", "--init-groups", "--inh-caps=-all", "env", "-i", "HOME=/home/dev"])
        .args(["PATH=/usr/local/bin:/usr/bin:/bin", "TERM=dumb", "sh", "-c", &format!("cd ~/packaged && {line}")])
        .output()
        .expect("setpriv")
}

#[track_caller]
fn says(line: &str, expected: &str) {
    let output = as_dev(line);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains(expected), "{line}\n{stdout}{stderr}");
}

#[test]
fn it_is_installed_upgraded_and_purged() {
    require!(Vm, Root);
    let deb = |revision: &str| binary().with_file_name(format!("devbox-{revision}.deb"));
    assert!(Command::new("sh").args(["-c", "command -v devbox"]).output().expect("sh").stdout.is_empty());
    sh(&format!("DEBIAN_FRONTEND=noninteractive apt-get install -y -q {}", deb("1").display()));

    // It works at once: a range of ids by `uidmap`, a network by `passt`.
    let project = Path::new("/home/dev/packaged");
    fs::create_dir_all(project.join("root/bin")).expect("a directory");
    fs::copy("/bin/busybox", project.join("root/bin/busybox")).expect("busybox");
    std::os::unix::fs::symlink("busybox", project.join("root/bin/sh")).expect("a link");
    fs::write(project.join("devbox.toml"), "rootfs = \"./root\"\n[network]\nmode = \"private\"\n").expect("write");
    sh("chown -R dev: /home/dev/packaged");
    let script =
        "echo mine > /kept; busybox id -u; busybox grep -o eth0 /proc/net/dev; busybox wc -l < /proc/self/uid_map";
    says(&format!("devbox run --keep -- sh -c '{script}'"), "0\neth0\n2\n");

    // A box goes on while the program below it is replaced.
    sh(&format!("dpkg --install {}", deb("2").display()));
    assert!(sh("dpkg-query --show devbox").ends_with("-2\n"));
    says("devbox run -- busybox cat /kept && devbox rm --force", "mine\n");

    let files = sh("dpkg-query --listfiles devbox");
    let files: Vec<&Path> = files.lines().map(Path::new).filter(|path| path.is_file()).collect();
    assert!(files.len() > 10, "{files:?}");
    sh("dpkg --purge devbox");
    let left: Vec<_> = files.into_iter().filter(|path| path.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    let left = sh("find /etc /usr /var/lib/dpkg /var/cache -name '*devbox*' -not -name 'devbox-test.service' \
        -not -path '/etc/initramfs-tools/*'");
    assert_eq!(left, "");
}
