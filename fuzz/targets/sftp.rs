//! What an sftp client sends: no packet may end us, and every answer is a whole packet with the number of its request.
//!
//! The requests are carried out, so all of it happens in a thread of its own whose root directory is an empty one.
#![no_main]

use std::io::{self, Cursor, Read, Write};
use std::panic::{catch_unwind, take_hook};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use devbox::sftp;
use devbox::wire::Reader;
use libfuzzer_sys::fuzz_target;
use nix::sched::{CloneFlags, unshare};

/// What a client says, and a check of what it is answered.
struct Talk {
    said: Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Read for Talk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.said.read(buffer)
    }
}

impl Write for Talk {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(buffer);
        let mut reader = Reader::new(&self.heard);
        if let Ok(answer) = reader.string() {
            // A version, status, handle, data, names, attributes, or what an extension says.
            assert!(matches!(answer[0], 2 | 101..=105 | 201) && answer.len() >= 5 && answer.len() <= 256 << 10);
            assert!(reader.rest().is_empty(), "one answer at a time");
            self.heard.clear();
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that serves clients, and the directory that is everything to it.
struct Server {
    clients: SyncSender<Vec<u8>>,
    served: std::sync::Mutex<Receiver<bool>>,
    root: tempfile::TempDir,
}

static SERVER: OnceLock<Server> = OnceLock::new();

fn server() -> Server {
    let root = tempfile::tempdir().expect("a directory");
    let (clients, next) = sync_channel::<Vec<u8>>(0);
    let (done, served) = sync_channel(0);
    let place = root.path().to_owned();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS).expect("a root of its own");
        nix::unistd::chroot(&place).expect("a root of its own");
        nix::unistd::chdir("/").expect("a directory of its own");
        assert!(!Path::new("/proc").exists(), "everything can be seen from here");
        for said in next {
            let served = catch_unwind(|| {
                let mut talk = Talk { said: Cursor::new(said), heard: Vec::new() };
                // That it is no client of sftp is an answer, too.
                drop(sftp::serve(&mut talk));
                assert!(talk.heard.is_empty(), "half an answer");
            });
            done.send(served.is_ok()).expect("somebody waits");
        }
    });
    Server { clients, served: served.into(), root }
}

fuzz_target!(
    init: {
        // A panic of the server ends it, and then us: it sees no directory where what it was sent could be written down.
        drop(take_hook());
        // Who is not root may change its root directory in a namespace of its own, which takes a process without threads.
        if !nix::unistd::geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        }
    },
    |bytes: &[u8]| {
        let server = SERVER.get_or_init(server);
        server.clients.send(bytes.to_vec()).expect("a server");
        assert!(server.served.lock().expect("one at a time").recv().expect("an end"), "the server panicked");
        for entry in std::fs::read_dir(server.root.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            let removed = if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            // What was closed even to its owner stays.
            removed.ok();
        }
    }
);
