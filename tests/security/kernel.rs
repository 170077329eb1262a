//! Attacks on the kernel's settings and devices by way of files.

use crate::require;
use crate::support::devbox::Devbox;

/// In a shell: `opens FILE..` prints those that can be opened for writing, and writes nothing.
const OPENS: &str =
    "opens() { for file; do [ -f \"$file\" ] && (: >>\"$file\") 2>/dev/null && echo \"$file\"; done; }\n";

#[test]
fn more_than_the_kept_capabilities() {
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
    // What the others would allow in the box's own namespaces.
    let script = "hostname other 2>/dev/null && echo named; ip link add dummy0 type dummy 2>/dev/null && echo made
        ip link set lo mtu 1000 2>/dev/null && echo set; chroot /proc/1/root true 2>/dev/null && echo entered
        nft add table inet t 2>/dev/null && echo filtered; echo end";
    test.sh(script).stdout("end\n").run();
}

#[test]
fn writing_below_proc() {
    require!(Userns, Overlay);
    // `net` belongs to the box's root, who may change it by its owner alone; the others to the host's root.
    let script = "opens /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/hostname /proc/sys/kernel/shmmax /proc/sys/vm/swappiness \
            /proc/sys/user/max_user_namespaces /proc/sysrq-trigger /proc/irq/default_smp_affinity
        mkdir /proc/x 2>/dev/null && echo made; echo end";
    Devbox::host().sh(&format!("{OPENS}{script}")).stdout("end\n").run();
}

#[test]
fn writing_below_sys() {
    require!(Userns, Overlay);
    let script = "opens $(find /sys/class/net/lo/ /sys/kernel /sys/module -maxdepth 2 -type f 2>/dev/null)
        mkdir /sys/x 2>/dev/null && echo made; echo end";
    let script = format!("{OPENS}{script}");
    Devbox::host().sh(&script).stdout("end\n").run();
    // There it is the host's, with all that is mounted below.
    Devbox::host().args(["run", "--network", "host", "--", "sh", "-c", &script]).stdout("end\n").run();
}

#[test]
fn reading_what_is_masked() {
    require!(Userns, Overlay);
    let script = "for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/latency_stats /proc/sched_debug; do
            test -e $path && test -n \"$(head -c 1 $path 2>/dev/null)\" && echo shown $path; done
        for path in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do ls -A $path 2>/dev/null; done
        echo end";
    Devbox::host().sh(script).stdout("end\n").run();
}

#[test]
fn core_pattern() {
    require!(Userns, Overlay);
    // Programs that the kernel starts on the host. Opened and not written: the host's may be within reach.
    let files = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/kernel/poweroff_cmd \
        /proc/sys/fs/binfmt_misc/register /sys/kernel/uevent_helper";
    let script = format!("{OPENS}opens {files}; echo end");
    Devbox::host().sh(&script).stdout("end\n").run();
    Devbox::host().args(["run", "--network", "host", "--", "sh", "-c", &script]).stdout("end\n").run();
}

#[test]
fn escaping_from_the_cgroup() {
    require!(Userns, Overlay);
    // The root of the namespace is the box's own group, and nothing of the tree can be written or mounted anew.
    let script = "readlink /proc/self/ns/cgroup; grep -v ':/$' /proc/self/cgroup
        mkdir -p /tmp/c; for kind in cgroup cgroup2; do mount -t $kind none /tmp/c 2>/dev/null && echo mounted; done
        opens $(find /sys/fs/cgroup -name cgroup.procs -o -name release_agent -o -name notify_on_release 2>/dev/null | head -50)
        mkdir $(find /sys/fs/cgroup -type d | head -20 | sed 's,$,/devbox-test,') 2>/dev/null
        for made in $(find /sys/fs/cgroup -depth -name devbox-test 2>/dev/null); do echo $made; rmdir $made; done; echo end";
    let script = format!("{OPENS}{script}");
    let own = std::fs::read_link("/proc/self/ns/cgroup").expect("read a link");
    for network in ["none", "host"] {
        let test = Devbox::host();
        let output = test.args(["run", "--network", network, "--", "sh", "-c", &script]).any_stdout().run();
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert_eq!(lines[1..], ["end"], "{network}: {}", output.stdout);
        assert_ne!(lines[0], own.to_string_lossy(), "{network}: the host's cgroup namespace");
    }
}

#[test]
fn device_nodes() {
    require!(Userns, Overlay);
    // Memory, the kernel's log, disks, fuse, tun.
    let script = "for node in 'c 1 1' 'c 1 11' 'b 8 0' 'b 254 0' 'c 10 229' 'c 10 200'; do
            for folder in /root /tmp /dev /dev/shm .; do
                mknod $folder/node $node 2>/dev/null; test -c $folder/node -o -b $folder/node && echo made $node in $folder
                rm -f $folder/node
            done
        done
        for name in /dev/*; do case $name in /dev/pts|/dev/shm|/dev/mqueue) ;; *) test -h $name || echo ${name#/dev/} ;; esac; done | xargs";
    Devbox::host().sh(script).stdout("full null random tty urandom zero\n").run();
}
