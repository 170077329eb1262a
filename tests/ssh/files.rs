//! Files: `sftp`, `scp`, `rsync`, `sshfs`.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::client::{Client, ended, noise, output, text};
use crate::require;

/// `sftp` with a list of commands.
fn sftp(client: &Client, commands: &str) -> (i32, String, String) {
    let mut command = client.program("sftp");
    command.arg("-F").arg(client.config()).args(["-b", "-"]).arg(client.host());
    ended(command, commands.as_bytes())
}

/// Another program that speaks through ssh.
fn program(client: &Client, name: &str, args: &[&str]) -> (i32, String, String) {
    let mut command: Command = client.program(name);
    command.args(args);
    ended(command, b"")
}

fn same(path: &Path, expected: &[u8]) {
    assert!(fs::read(path).expect("read") == expected, "{} differs", path.display());
}

#[test]
fn files_pass_by_sftp_unchanged() {
    require!(Userns, Overlay, Program("sftp"));
    let client = Client::new("");
    let content = noise(5 << 20);
    let (there, back) = (client.test.path("there"), client.test.path("back"));
    fs::write(&there, &content).expect("write");
    let commands = format!(
        "pwd\nmkdir /root/new\nput {} /root/new/file\nchmod 600 /root/new/file\nsymlink file /root/new/link\n\
         rename /root/new/file /root/new/moved\nget /root/new/moved {}\nls -l /root/new\nrm /root/new/link\ndf /root\n",
        text(&there),
        text(&back)
    );
    let (status, out, errors) = sftp(&client, &commands);
    assert_eq!(status, 0, "{errors}");
    assert!(out.contains("/root\n") && out.contains("-rw-------") && out.contains(" moved"), "{out}");
    same(&back, &content);
    assert_eq!(client.run(&[], "stat -c '%a %s %u' new/moved; ls new").1, "600 5242880 0\nmoved\n");
    // Paths are the box's, and so is what may be read.
    let (status, _, errors) = sftp(&client, "get /root/nothing\n");
    assert!(status == 1 && errors.contains("not found"), "{errors}");
    assert!(!Path::new("/root/new").exists(), "nothing of this is the host's");
}

/// Memory as a file that other programs know by a path, so that nothing of it is on a disk.
fn in_memory() -> (fs::File, String) {
    let file = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    (file.into(), path)
}

#[test]
fn a_gibibyte_passes_by_sftp_unchanged() {
    const BLOCK: usize = 4 << 20;
    require!(Userns, Overlay, Root, Program("sftp"));
    // It runs on between the two ways: what is in memory goes with it.
    let client = Client::new("lifetime = \"keep\"\n");
    // Each block begins with its number, so that none can stand in the place of another.
    let mut block = noise(BLOCK);
    let number = |block: &mut [u8], index: u64| block[..8].copy_from_slice(&index.to_le_bytes());
    let (mut there, path) = in_memory();
    for index in 0..256 {
        number(&mut block, index);
        there.write_all(&block).expect("write");
    }
    // The box's /tmp is memory as well.
    let (status, _, errors) = sftp(&client, &format!("put {path} /tmp/large\n"));
    assert_eq!(status, 0, "{errors}");
    drop(there);
    let (mut back, path) = in_memory();
    let (status, _, errors) = sftp(&client, &format!("get /tmp/large {path}\nrm /tmp/large\n"));
    assert_eq!(status, 0, "{errors}");
    let mut got = vec![0; BLOCK];
    for index in 0..256 {
        number(&mut block, index);
        back.read_exact(&mut got).expect("read");
        assert!(got == block, "the block {index} differs");
    }
    assert_eq!(back.read(&mut got).expect("read"), 0, "and nothing more");
    client.test.args(["stop"]).run();
}

#[test]
fn symlinks_lead_nowhere_else() {
    require!(Userns, Overlay, Program("sftp"));
    let client = Client::new("");
    let secret = client.test.path("secret");
    fs::write(&secret, "of the host").expect("write");
    client.run(&[], &format!("ln -s {} link; ln -s / root", text(&secret)));
    let got = client.test.path("got");
    for path in ["link", &format!("root{}", text(&secret)), text(&secret)] {
        let (status, _, errors) = sftp(&client, &format!("get /root/{path} {}\n", text(&got)));
        assert!(status == 1 && !got.exists(), "{path}: {errors}");
    }
}

#[test]
fn scp_and_rsync_copy_trees() {
    require!(Userns, Overlay, Program("scp"), Program("rsync"));
    let client = Client::new("");
    let tree = client.test.path("tree");
    fs::create_dir_all(tree.join("a b")).expect("a directory");
    let content = noise(300_000);
    fs::write(tree.join("a b/file"), &content).expect("write");
    let (config, host) = (client.config(), client.host());
    let remote = |path: &str| format!("{host}:{path}");
    let back = client.test.path("back");
    // By sftp, which is the rule since OpenSSH 9, and by the old protocol, which needs `scp` in the box.
    for (index, way) in [&["-s"][..], &["-O"]].into_iter().enumerate() {
        let (place, back) = (remote(&format!("scp{index}")), back.with_extension(index.to_string()));
        let common = [&["-F", text(&config), "-r"][..], way].concat();
        let (status, _, errors) = program(&client, "scp", &[&common[..], &[text(&tree), &place]].concat());
        assert_eq!(status, 0, "{way:?}: {errors}");
        let (status, _, errors) = program(&client, "scp", &[&common[..], &[&place, text(&back)]].concat());
        assert_eq!(status, 0, "{way:?}: {errors}");
        same(&back.join("a b/file"), &content);
    }
    let shell = format!("ssh -F {}", text(&config));
    let back = client.test.path("rsync");
    let (status, _, errors) = program(&client, "rsync", &["-a", "-e", &shell, text(&tree), &remote("r/")]);
    assert_eq!(status, 0, "{errors}");
    let (status, _, errors) = program(&client, "rsync", &["-a", "-e", &shell, &remote("r/tree/"), text(&back)]);
    assert_eq!(status, 0, "{errors}");
    same(&back.join("a b/file"), &content);
}

#[test]
fn emacs_edits_a_file_of_the_box() {
    require!(Userns, Overlay, Ordinary, Program("ssh"), Program("emacs"));
    let client = Client::new("shell = \"/bin/bash\"\n");
    client.run(&[], "echo of-the-box >note");
    let edit = client.test.path("edit.el");
    let script = format!(
        "(setq vc-handled-backends nil)\n(find-file \"/ssh:{}:/root/note\")\n(princ (buffer-string))\n\
         (goto-char (point-max))\n(insert \"of-emacs\\n\")\n(save-buffer)\n",
        client.host()
    );
    fs::write(&edit, script).expect("write");
    // It has no place for an option of ssh's.
    let ssh = client.test.path("bin/ssh");
    fs::create_dir(client.test.path("bin")).expect("a directory");
    fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", text(&client.config()))).expect("write");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("make executable");
    let mut emacs = client.program("emacs");
    emacs.env("PATH", format!("{}:/usr/bin:/bin", text(&client.test.path("bin"))));
    emacs.args(["--batch", "-q", "-l"]).arg(&edit);
    let (status, out, errors) = ended(emacs, b"");
    assert_eq!((status, out.as_str()), (0, "of-the-box\n"), "{errors}");
    assert_eq!(client.run(&[], "cat note").1, "of-the-box\nof-emacs\n");
}

#[test]
fn a_box_can_be_mounted() {
    require!(Userns, Overlay, Root, Program("sshfs"), Program("fusermount3"));
    let client = Client::new("");
    client.run(&[], "mkdir shown; echo text >shown/file");
    let place = client.test.path("mounted");
    fs::create_dir(&place).expect("a directory");
    let remote = format!("{}:shown", client.host());
    let options = ["-F", text(&client.config()), &remote, text(&place)].map(str::to_owned);
    let mounted = output_of(&client, "sshfs", &options);
    assert_eq!(mounted.0, 0, "{}", mounted.2);
    let read = fs::read_to_string(place.join("file"));
    let written = fs::write(place.join("other"), noise(100_000));
    let unmounted = output_of(&client, "fusermount3", &["-u".to_owned(), text(&place).to_owned()]);
    assert_eq!(unmounted.0, 0, "{}", unmounted.2);
    assert_eq!(read.expect("read"), "text\n");
    written.expect("write");
    assert_eq!(client.run(&[], "stat -c %s shown/other").1, "100000\n");
}

fn output_of(client: &Client, name: &str, args: &[String]) -> (i32, String, String) {
    // What goes on in the background must not hold our pipes.
    let mut command = client.program("sh");
    let log = client.test.path("log");
    let script = format!("\"$@\" >{} 2>&1", text(&log));
    command.args(["-c", &script, "sh", name]).args(args);
    let got = output(command, b"");
    (got.status.code().unwrap_or(-1), String::new(), fs::read_to_string(log).unwrap_or_default())
}
