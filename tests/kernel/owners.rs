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
