//! What an ssh client sends before there are keys, in pieces of any size, and what it asks of a session: neither may end us,
//! and pieces must not matter.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use devbox::paths::Paths;
use devbox::ssh::keys::KeyFiles;
use devbox::ssh::request::Request;
use devbox::ssh::transport::Transport;
use devbox::wire::Reader;
use libfuzzer_sys::fuzz_target;

static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();

fn transport() -> Transport {
    let home = HOME.get_or_init(|| tempfile::tempdir().expect("a directory")).path();
    let below = |name: &str| -> PathBuf { home.join(name) };
    let paths = Paths {
        home: below("home"),
        data: below("data"),
        config: below("config"),
        cache: below("cache"),
        runtime: below("run"),
    };
    let (host, _) = KeyFiles::new(&paths).load().expect("keys");
    Transport::new(host).expect("a transport")
}

/// The messages for the layers above, and whether the client was found to be none.
fn receive(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let mut transport = transport();
    let mut messages = Vec::new();
    for piece in bytes.chunks(size) {
        transport.feed(piece);
        loop {
            match transport.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else { return };
    assert_eq!(receive(bytes, usize::from(*size).max(1)), receive(bytes, bytes.len().max(1)));
    for name in ["pty-req", "env", "exec", "subsystem", "window-change", "signal"] {
        if let Ok(Request::Terminal { modes, .. }) = Request::parse(name.as_bytes(), Reader::new(bytes)) {
            assert!(modes.len() <= bytes.len() / 5);
        }
    }
});
