//! What a box sees and may do, asserted from inside. What it must not do is in `tests/security`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::require;
use crate::support::devbox::Devbox;
use crate::support::{Identity, identity};

#[test]
fn root_with_an_id_map() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let output = test.sh("id -u; id -g; cat /proc/self/uid_map").any_stdout().run();
    let lines: Vec<Vec<&str>> = output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[1][0]), ("0", "0"));
    let outside = rustix::process::getuid().as_raw().to_string();
    match identity() {
        Identity::Plain => assert_eq!(lines[2..], [["0", outside.as_str(), "1"]]),
        Identity::Range => {
            assert_eq!(lines[2], ["0", outside.as_str(), "1"]);
            assert_eq!(lines[3][0], "1");
            assert!(lines[3][2].parse::<u32>().expect("a count") >= 65535);
        }
        Identity::Root => {}
    }
}

#[test]
fn namespaces_of_its_own() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let output = test.args(["run", "--", "readlink", &format!("/proc/self/ns/{name}")]).any_stdout().run();
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).expect("read a link");
        assert_ne!(output.stdout.trim(), ours.to_string_lossy(), "{name}");
        assert!(output.stdout.starts_with(name), "{output:?}");
    }
}

#[test]
fn the_host_network_when_asked_for() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let output = test.args(["run", "--network", "host", "--", "readlink", "/proc/self/ns/net"]).any_stdout().run();
    assert_eq!(output.stdout.trim(), fs::read_link("/proc/self/ns/net").expect("read a link").to_string_lossy());
}

#[test]
fn no_network_is_only_loopback() {
    require!(Userns, Overlay);
    Devbox::host().sh("ls /sys/class/net; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").stdout("lo\nlo\n").run();
}

#[test]
fn files_of_the_project_belong_to_the_user() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo text > made; mkdir -p folder/deep; chmod 600 made").run();
    for name in ["made", "folder", "folder/deep"] {
        let meta = fs::metadata(test.project().join(name)).expect("read a file's attributes");
        assert_eq!(meta.uid(), rustix::process::getuid().as_raw(), "{name}");
        assert_eq!(meta.gid(), rustix::process::getgid().as_raw(), "{name}");
    }
    assert_eq!(fs::read(test.project().join("made")).expect("read a file"), b"text\n");
}

#[test]
fn the_home_directory_persists() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.sh("echo kept > ~/note; echo usr > /usr/local/note; echo gone > /tmp/note").run();
    test.args(["stop"]).run();
    test.sh("cat ~/note /usr/local/note; ls /tmp/note").stdout("kept\nusr\n").any_stderr().status(2).run();
    assert!(!test.home().join("note").exists() && !std::path::Path::new("/usr/local/note").exists());
}

#[test]
fn names() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    test.profile("name = \"shop\"\nbase = \"host\"\n[network]\nmode = \"none\"\n");
    test.sh("hostname; cat /etc/hostname; getent hosts localhost >/dev/null && grep -c shop /etc/hosts; wc -c < /etc/machine-id")
        .stdout("shop\nshop\n1\n33\n")
        .run();
    let id = test.sh("cat /etc/machine-id").any_stdout().run();
    assert_ne!(id.stdout, fs::read_to_string("/etc/machine-id").unwrap_or_default());
    test.sh("cat /etc/machine-id").stdout(id.stdout).run();
}

#[test]
fn devices() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "for name in null zero full random urandom tty ptmx; do test -c /dev/$name || echo no $name; done
        echo x > /dev/null; head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; touch /dev/shm/x && echo shm
        readlink /dev/fd /dev/stdin; ls /dev/kmsg /dev/mem /dev/sda /dev/vda /dev/loop0 2>/dev/null; echo end";
    test.sh(script).stdout("2\n3\nshm\n/proc/self/fd\n/proc/self/fd/0\nend\n").run();
}

#[test]
fn tracing_works() {
    require!(Userns, Overlay, Program("strace"), Program("gdb"));
    let test = Devbox::host();
    let output = test.sh("strace -f -o /tmp/trace true && grep -c execve /tmp/trace").any_stdout().run();
    assert_eq!(output.stdout, "1\n");
    let script =
        "tail -f /dev/null & gdb -nx -batch -p $! -ex 'info registers' 2>&1 | grep -c -E '^(rip|pc) '; kill $!";
    test.sh(script).stdout("1\n").run();
}

#[test]
fn sudo_becomes_another_user() {
    require!(Userns, Overlay, Program("sudo"), Subuid);
    let test = Devbox::host();
    test.sh("sudo -u nobody id -un; sudo -u nobody sh -c 'touch /root/x 2>/dev/null || echo refused'")
        .stdout("nobody\nrefused\n")
        .run();
    // From an ordinary user back to root, which takes a setuid program.
    test.sh("useradd -m worker && echo 'worker ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/worker && \
             setpriv --reuid worker --regid worker --init-groups sudo -n id -u")
        .stdout("0\n")
        .run();
}

#[test]
fn a_user_by_name() {
    require!(Userns, Overlay, Ordinary);
    let test = Devbox::shared("user = \"dev\"\n[network]\nmode = \"none\"\n");
    test.sh(
        "id -un; id -u; echo $HOME; touch $HOME/kept made && stat -c %U $HOME made; touch /usr/x 2>/dev/null; true",
    )
    .stdout("dev\n1000\n/home/dev\ndev\ndev\n")
    .run();
    assert!(test.project().join("made").metadata().is_ok_and(|meta| meta.uid() == rustix::process::getuid().as_raw()));
    test.args(["run", "--user", "nobody-here", "--", "true"]).any_stderr().status(126).run();
}

#[test]
fn a_user_by_name_can_become_root() {
    require!(Userns, Overlay, Subuid, Program("sudo"));
    let test = Devbox::shared("user = \"dev\"\n[network]\nmode = \"none\"\n");
    test.sh("sudo -n id -u; touch /usr/x 2>/dev/null || echo refused").stdout("0\nrefused\n").any_stderr().run();
    test.args(["run", "-u", "root", "--", "sh", "-c", "id -u; echo $HOME; touch /usr/x"]).stdout("0\n/root\n").run();
    test.args(["run", "-u", "nobody", "--", "id", "-un"]).stdout("nobody\n").run();
}

#[test]
fn names_are_resolved() {
    require!(Userns, Overlay, Pasta, Mirror);
    let test = Devbox::host();
    let script = "host=$(apt-get download --print-uris hello | head -1 | cut -d/ -f3 | cut -d: -f1)
        grep -q nameserver /etc/resolv.conf && echo resolver
        test $(ls /sys/class/net | wc -l) = 2 && echo interface
        getent hosts \"$host\" >/dev/null || test -n \"$http_proxy$https_proxy\" && echo resolved";
    test.args(["run", "--network", "private", "--", "sh", "-c", script])
        .stdout("resolver\ninterface\nresolved\n")
        .any_stderr()
        .run();
}
