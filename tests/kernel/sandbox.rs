//! What a box sees and may do, asserted from inside.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

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
fn init_cannot_be_looked_into() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "
        for name in exe cwd root ns/mnt; do readlink /proc/1/$name && echo readable $name; done
        for name in exe environ mem auxv maps; do head -c 1 /proc/1/$name >/dev/null && echo readable $name; done
        for fd in 0 1 2 3 4 5 6 7 8 9; do
            readlink /proc/1/fd/$fd && echo readable fd; (head -c 1 <>/proc/1/fd/$fd) && echo opened fd; done
        ls /proc/1/root/ && echo readable root
        for name in exe mem; do (: >> /proc/1/$name) && echo writable $name; done
        kill -STOP 1; kill -KILL 1
        echo end";
    test.sh(script).stdout("end\n").any_stderr().run();
    test.sh("tr '\\0' '\\n' < /proc/1/cmdline | head -1").stdout("devbox: init\n").run();
}

#[test]
fn the_kept_capabilities_and_no_other() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot sys_ptrace mknod
    // audit_write setfcap
    let kept: u64 = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 19, 27, 29, 31].iter().map(|bit| 1 << bit).sum();
    let output = test.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").any_stdout().run();
    for (name, value) in [("Inh", 0), ("Prm", kept), ("Eff", kept), ("Bnd", kept), ("Amb", 0)] {
        assert!(output.stdout.contains(&format!("Cap{name}:\t{value:016x}\n")), "{name}: {}", output.stdout);
    }
    assert!(output.stdout.contains("Seccomp:\t2\n"), "{}", output.stdout);
}

#[test]
fn dangerous_operations_are_refused() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    for command in [
        "mount -t tmpfs none /mnt",
        "mount --bind /etc /mnt",
        "mount -o remount,rw /proc/sys",
        "umount /proc/sys",
        "umount -l /proc/kcore",
        "unshare -m true",
        "unshare -U true",
        "unshare -r -m true",
        "nsenter -t 1 -n true",
        "nsenter -t 1 -U true",
        "hostname other",
        "chroot /proc/1/root true",
        "dmesg",
        "echo 1 > /proc/sys/kernel/panic",
        "echo h > /proc/sysrq-trigger",
        "ip link add dummy0 type dummy",
        "mknod /root/disk b 8 0 && head -c 1 /root/disk",
    ] {
        let output = test.sh(command).output();
        assert!(!output.status.success(), "{command}: {output:?}");
    }
    test.sh("true").run();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn dangerous_calls_are_refused() {
    require!(Userns, Overlay, Program("perl"));
    let test = Devbox::host();
    for (name, number) in [
        ("bpf", 321),
        ("keyctl", 250),
        ("add_key", 248),
        ("open_by_handle_at", 304),
        ("init_module", 175),
        ("kexec_load", 246),
        ("perf_event_open", 298),
        ("userfaultfd", 323),
        ("io_uring_setup", 425),
        ("move_mount", 429),
        ("fsopen", 430),
        ("swapon", 167),
        ("reboot", 169),
    ] {
        let script = format!("$! = 0; my $r = syscall({number}, 0, 0, 0, 0, 0); print $r, ' ', $! + 0;");
        let output = test.args(["run", "--", "perl", "-e", &script]).any_stdout().run();
        assert!(matches!(output.stdout.as_str(), "-1 1" | "-1 38"), "{name}: {}", output.stdout);
    }
}

#[test]
fn kernel_settings_are_read_only_and_masked() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let script = "
        for path in /proc/sys/kernel/hostname /proc/sys/vm/swappiness /proc/irq/default_smp_affinity \
            /sys/kernel/mm/transparent_hugepage/enabled; do (echo 1 > $path) 2>/dev/null && echo written $path; done
        mkdir /sys/x 2>/dev/null && echo made
        for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
            test -e $path && test -n \"$(head -c 1 $path)\" && echo shown $path; done
        for path in /proc/acpi /proc/scsi /sys/firmware; do ls -A $path 2>/dev/null; done
        ls /sys/fs/cgroup >/dev/null && echo end";
    test.sh(script).stdout("end\n").run();
}

#[test]
fn nothing_is_inherited() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    // The shell gives the descriptor to the client.
    let script = format!(
        "exec 7<{home}/secret 8>>{home}/secret; exec {devbox} run -- ls /proc/self/fd",
        home = test.home().display(),
        devbox = test.path("devbox").display()
    );
    let template = test.command(["run"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(test.project()).env_clear().stdin(Stdio::null());
    shell.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().expect("start a shell");
    // 3 is the directory that `ls` reads.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "{output:?}");
}

#[test]
fn a_directory_as_input_is_no_way_out() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    let mut command = test.command([
        "run",
        "--",
        "sh",
        "-c",
        "ls -A /proc/self/fd/0/; cat /proc/self/fd/0/secret; readlink /proc/self/fd/0",
    ]);
    let output = command.stdin(File::open(test.home()).expect("open a directory")).output().expect("start the binary");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!shown.contains("secret") && !shown.contains("home"), "{output:?}");
}

#[test]
fn an_output_file_cannot_be_opened_again() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    fs::write(test.path("out"), "before\n").expect("write a file");
    let mut command = test.command(["run", "--", "sh", "-c", "echo after; readlink /proc/self/fd/1 >&2"]);
    let file = File::options().append(true).open(test.path("out")).expect("open a file");
    let output = command.stdin(Stdio::null()).stdout(file).output().expect("start the binary");
    assert_eq!(fs::read_to_string(test.path("out")).expect("read a file"), "before\nafter\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("pipe:"), "{output:?}");
}

#[test]
fn the_hosts_own_files_are_not_there() {
    require!(Userns, Overlay);
    let test = Devbox::host();
    let outside = tempfile::NamedTempFile::new().expect("a file in the host's /tmp");
    fs::write(test.home().join("secret"), "secret").expect("write a file");
    let script = format!(
        "ls -A /home; ls -A /root; ls -A /run/user 2>/dev/null; ls {} {} 2>/dev/null; for d in /var/lib/docker /mnt /media /lost+found; do ls -A $d 2>/dev/null; done; \
         ls -A /tmp | grep -v '^db[.]'; cat /etc/shadow | cut -d: -f2 | sort -u | tr -d '*!'",
        outside.path().display(),
        test.home().display(),
    );
    let output = test.sh(&script).any_stderr().any_stdout().output();
    assert_eq!(output.stdout.trim(), "", "{output:?}");
    if identity() == Identity::Root {
        return;
    }
    // Not even by the way of a mount.
    let output = test.sh("cut -d' ' -f1,2 /proc/mounts").any_stdout().run();
    assert!(!output.stdout.contains("/home/"), "{}", output.stdout);
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
    let script = "sleep 100 & gdb -nx -batch -p $! -ex 'info registers' 2>&1 | grep -c -E '^(rip|pc) '; kill $!";
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
