//! Owners that a box with one id cannot give to files, and remembers for images.

use std::fs;
use std::process::Command;

use crate::require;
use crate::support::devbox::Devbox;

/// What the layers of the image hold of `names`: mode, owner, name.
fn listing(test: &Devbox, image: &str, names: &[&str]) -> Vec<String> {
    let place = test.path(format!("saved-{image}"));
    test.args(["image", "save", "--format", "oci-dir", "-o"]).arg(&place).arg(image).any_stderr().run();
    let mut found = Vec::new();
    for blob in fs::read_dir(place.join("blobs/sha256")).expect("blobs") {
        let path = blob.expect("a blob").path();
        let output = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(path).output().expect("run tar");
        // The others are JSON.
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut words = line.split_whitespace();
            let (mode, owner, name) = (words.next(), words.next(), words.nth(3));
            let (mode, owner, name) = (mode.expect("a mode"), owner.expect("an owner"), name.expect("a name"));
            if names.contains(&name.trim_end_matches('/')) {
                found.push(format!("{mode} {owner} {name}"));
            }
        }
    }
    found.sort();
    found
}

fn stop(test: &Devbox) {
    test.args(["stop"]).any_stdout().any_stderr().run();
}

fn commit(test: &Devbox, image: &str) {
    stop(test);
    test.args(["image", "commit", image]).any_stdout().any_stderr().run();
}

#[test]
fn owners_are_remembered_for_images() {
    require!(Userns, Overlay, NoSubuid);
    let test = Devbox::new();
    test.root_with_busybox("root").profile("rootfs = \"root\"\n[network]\nmode = \"none\"\n");
    let script = "cd /etc; mkdir d; echo 1 > d/a; echo 2 > b; echo 3 > c; ln -s b link; chmod 400 b
        busybox chown -R 7:8 d; busybox chown 9 link; busybox chown :10 /proc/self/cwd/c; busybox chown -h 11 link
        busybox chown 12:12 /etc/c; busybox chown 13 /devbox-absent; echo $?
        echo 4 > e; busybox chown 5:5 e; busybox chown 0:0 e; busybox stat -c %u:%g b";
    test.sh(script).stdout("1\n0:0\n").any_stderr().run();
    stop(&test);
    // Into a frozen layer, and up again with the content; or with nothing but the new name.
    test.args(["snapshot", "create", "one"]).any_stderr().run();
    test.sh("echo more >> /etc/d/a; busybox mv /etc/c /etc/f; busybox chown 14 .").any_stderr().run();
    let known = rustix::fs::getxattr(test.project(), "user.containers.override_stat", &mut [0_u8; 64][..]);
    assert!(known.is_err(), "the project is the host's");
    commit(&test, "first");
    let names = ["etc/d", "etc/d/a", "etc/b", "etc/e", "etc/f", "etc/link"];
    let expected = [
        "-r-------- 9/0 etc/b",
        "-rw-r--r-- 0/0 etc/e",
        "-rw-r--r-- 12/12 etc/f",
        "-rw-r--r-- 7/8 etc/d/a",
        "drwxr-xr-x 7/8 etc/d/",
        "lrwxrwxrwx 0/0 etc/link",
    ];
    assert_eq!(listing(&test, "first", &names), expected);

    // The owners of an image are remembered, too, for what is made of its files.
    let above = Devbox::new();
    above.file("first.tar", "");
    test.args(["image", "save", "-o"]).arg(above.project().join("first.tar")).arg("first").any_stderr().run();
    above.args(["image", "load", "first.tar"]).any_stdout().any_stderr().run();
    above.profile("image = \"first\"\n[network]\nmode = \"none\"\n");
    above.sh("echo even >> /etc/d/a; echo new > /etc/d/n; echo more >> /etc/b").any_stderr().run();
    commit(&above, "second");
    let found = listing(&above, "second", &["etc/d", "etc/d/a", "etc/d/n", "etc/b"]);
    let changed = ["-r-------- 9/0 etc/b", "-rw-r--r-- 0/0 etc/d/n", "-rw-r--r-- 7/8 etc/d/a", "drwxr-xr-x 7/8 etc/d/"];
    for line in changed {
        // In both layers, but for what is new.
        let times = found.iter().filter(|found| *found == line).count();
        assert_eq!(times, if line.ends_with("/n") { 1 } else { 2 }, "{line} in {found:#?}");
    }
}

#[test]
fn many_changes_of_owner_at_once() {
    require!(Userns, Overlay, NoSubuid, Program("python3"));
    let test = Devbox::host();
    let script = "import os, threading
os.mkdir('/etc/many')
def give(n):
    for i in range(50):
        path = f'/etc/many/{n}-{i}'
        with open(path, 'w') as f: os.fchown(f.fileno(), n + 1, i + 1)
        os.chown(path, -1, i)
threads = [threading.Thread(target=give, args=(n,)) for n in range(20)]
for t in threads: t.start()
for t in threads: t.join()
names = os.listdir('/etc/many')
owners = {os.getxattr('/etc/many/' + n, 'user.containers.override_stat').decode() for n in names}
print(len(names), sorted(owners) == sorted(f'{n + 1}:{i}:0644' for n in range(20) for i in range(50)))
try: os.chown('/etc/many/none', 1, 1)
except FileNotFoundError: print('absent')
os.chdir('/etc'); os.chroot('/etc/many'); os.chown('/0-0', 77, 77); os.chown('many/0-1', 78, 78)
print(os.getxattr('/0-0', 'user.containers.override_stat'), os.getxattr('/0-1', 'user.containers.override_stat'))
";
    test.args(["run", "--", "python3", "-c", script])
        .stdout("1000 True\nabsent\nb'77:77:0644' b'78:78:0644'\n")
        .any_stderr()
        .run();
}

/// A project on the host base whose profile wants owners and ids emulated.
fn emulating() -> Devbox {
    let test = Devbox::host();
    test.profile("base = \"host\"\n[network]\nmode = \"none\"\n[security]\nemulate_ids = true\n");
    test
}

#[test]
fn owners_are_shown_where_the_profile_wants_it() {
    require!(Userns, Overlay, NoSubuid, Program("python3"), Program("busybox"));
    let test = emulating();
    let script = "cd /etc; mkdir d; echo 1 > d/a; ln -s d/a link; chown 7:8 d/a; chown 9 d; chown -h 3 link
        stat -c %u:%g d /etc/d/a link; stat -L -c %u:%g link; busybox stat -c %u:%g d/a; ls -nd d | cut -d' ' -f3,4
        mkdir -p c/bin; cp -a d c/d; chown 20:21 c/d/a; cp /bin/busybox c/bin; chroot c /bin/busybox stat -c %u:%g /d/a
        chown 11 /devbox-absent 2>/dev/null; echo $?; stat -c %u:%g \"$PWD/passwd\" . /tmp";
    let shown = "9:0\n7:8\n0:0\n7:8\n7:8\n9 0\n20:21\n1\n0:0\n0:0\n0:0\n";
    test.sh(script).stdout(shown).any_stderr().run();
    // By each call, in a box that was started anew; and what is wrong with a call the kernel says.
    let script = "import ctypes, errno, os, threading
os.chdir('/etc')
here = os.open('d', os.O_RDONLY)
with open('d/a') as f: found = [os.fstat(f.fileno()), os.stat('a', dir_fd=here), os.lstat('/proc/self/cwd/d/a')]
os.chdir('d')
found += [os.stat('a'), os.stat('../link'), os.stat(f'/proc/self/fd/{here}/a')]
print({(s.st_uid, s.st_gid, s.st_size, s.st_nlink) for s in found}, os.fstat(here).st_uid)
libc = ctypes.CDLL(None, use_errno=True)
def failed(*arguments):
    assert libc.fstatat(*arguments) == -1
    return errno.errorcode[ctypes.get_errno()]
room = ctypes.create_string_buffer(256)
print(failed(here, b'a', None, 0), failed(here, b'a', ctypes.c_void_p(1), 0), failed(here, ctypes.c_void_p(1), room, 0),
    failed(here, b'a' * 5000, room, 0), failed(here, b'', room, 0), failed(here, b'a', room, 1), failed(99, b'a', room, 0))
def look():
    for _ in range(300): assert os.stat('/etc/d/a').st_uid == 7
threads = [threading.Thread(target=look) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
os.mkdir('/tmp/own'); os.chown('/tmp/own', 5, 6)
try: os.setxattr('/tmp/own', 'user.known', b''); print(os.stat('/tmp/own').st_gid)
except OSError: print(6)
def die():
    while True: os.stat('/etc/d/a')
for _ in range(20):
    child = os.fork()
    if child == 0: die()
    os.kill(child, 9); os.waitpid(child, 0)
print(os.stat('/etc/d').st_uid)
";
    test.args(["run", "--", "python3", "-c", script])
        .stdout("{(7, 8, 2, 1)} 9\nEFAULT EFAULT EFAULT ENAMETOOLONG ENOENT EINVAL EBADF\n6\n9\n")
        .any_stderr()
        .run();
    // The others are passed on to whoever refuses them.
    test.sh("mount -t tmpfs none /mnt 2>/dev/null; stat -c %u /etc/d").stdout("9\n").run();
    let log = test.args(["log", "denied"]).any_stdout().any_stderr().output().stdout;
    assert!(log.contains("mount"), "{log}");
}

#[test]
fn ids_are_those_that_were_asked_for() {
    require!(Userns, Overlay, NoSubuid, Program("python3"), Program("sudo"), Program("useradd"));
    let test = emulating();
    let script = "setpriv --reuid 7 --regid 8 --clear-groups sh -c '
            id -u; id -g; id -G; umask 027; mkdir /etc/e; echo x > /etc/e/f; chmod 2770 /etc/e
            chown 9 /etc/e/f 2>/dev/null; echo $?; stat -c \"%u:%g %a\" /etc/e /etc/e/f
            set -C; (echo y > /etc/e/f) 2>/dev/null; echo $?; echo z >| /etc/e/f; cat /etc/e/f
            mkdir /etc/e 2>/dev/null || mkdir /etc/none/e 2>/dev/null || setpriv --reuid 0 true 2>/dev/null || echo refused'
        setpriv --reuid 9 --regid 9 --clear-groups sh -c 'mkdir /etc/e/d; stat -c %u:%g /etc/e/d'
        useradd -m -p '*' -u 1500 alice; stat -c %u:%g /home/alice
        echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice
        su alice -c 'id -un; touch ~/made; stat -c %U ~/made; sudo -n id -u; sudo -n -u alice id -un'; sudo -u alice id -un";
    let shown = "7\n8\n8\n1\n7:8 2770\n7:8 640\n2\nz\nrefused\n9:8\n1500:1500\nalice\nalice\n0\nalice\nalice\n";
    test.sh(script).stdout(shown).any_stderr().run();
    let script = "import os, resource, socket, struct
def attempt(change, *ids):
    try: change(*ids); return 'done'
    except PermissionError: return 'refused'
os.setgroups([30, 20]); os.setresgid(8, 8, 8); os.setresuid(7, 7, 0)
print(os.getresuid(), os.getresgid(), os.getgroups(), os.getuid(), os.getegid())
print(attempt(os.setgroups, []), attempt(os.setuid, 5), attempt(os.setgid, 0), attempt(os.seteuid, 0))
os.setresuid(7, 7, 7)
child = os.fork()
if child == 0: os._exit(os.geteuid() if attempt(os.seteuid, 0) == 'refused' else 99)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ours, theirs = socket.socketpair()
peer = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
print(struct.unpack('3i', peer) == (os.getpid(), 7, 8))
LOCKS = 10
for garbage in [0, 1, 0x6964730000000000 + 4000, 2**63 - 1]:
    resource.setrlimit(LOCKS, (garbage, resource.RLIM_INFINITY)); print(os.getuid(), end=' ')
resource.setrlimit(LOCKS, (5, 5))
print(attempt(os.setuid, 7), os.stat('/etc/e').st_uid)
";
    let shown = "(7, 7, 0) (8, 8, 8) [20, 30] 7 8\nrefused refused refused done\n7\nTrue\n0 0 0 0 refused 7\n";
    test.args(["run", "--", "python3", "-c", script]).stdout(shown).any_stderr().run();
}

#[test]
fn programs_that_look_at_owners_and_ids_work() {
    require!(Userns, Overlay, NoSubuid, Program("psql"), Program("sshd"), Program("useradd"));
    let test = emulating();
    let postgres = "set -e; cd /; tools=$(dirname /usr/lib/postgresql/*/bin/initdb); data=/var/lib/postgresql/test
        chown postgres:postgres /var/lib/postgresql
        su postgres -c \"$tools/initdb -D $data -A peer --no-sync --locale=C\" > /dev/null
        su postgres -c \"$tools/pg_ctl -D $data -o '-k $data -c listen_addresses= -c fsync=off' -w -t 300 -l $data/log start\" > /dev/null
        su postgres -c \"psql -h $data -Atc 'select current_user'\"
        psql -h $data -U postgres -Atc 'select 1' || stat -c %U $data/base
        su postgres -c \"$tools/pg_ctl -D $data -m fast -w stop\" > /dev/null";
    let refused = test.sh(postgres).stdout("postgres\npostgres\n").any_stderr().run();
    assert!(refused.stderr.contains("Peer authentication failed"), "{}", refused.stderr);

    let ssh = "mkdir -p /run/sshd /etc/t; for name in host key; do ssh-keygen -q -t ed25519 -N '' -f /etc/t/$name; done
        useradd -m -p '*' -s /bin/sh alice
        su alice -c 'umask 077; mkdir ~/.ssh; cat > ~/.ssh/authorized_keys' < /etc/t/key.pub
        echo 'HostKey /etc/t/host' > /etc/t/config; /usr/sbin/sshd -t -f /etc/t/config
        log_in() { ssh -F none -i /etc/t/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \\
            -o ProxyCommand='/usr/sbin/sshd -i -f /etc/t/config -E /etc/t/log' alice@box \"$@\"; }
        log_in 'id -un; touch made; stat -c %U . made'
        chown 1501 /home/alice/.ssh; log_in true; echo $?; grep -q 'bad ownership' /etc/t/log && echo refused";
    test.sh(ssh).stdout("alice\nalice\nalice\n255\nrefused\n").any_stderr().run();
}
