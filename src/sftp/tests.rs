use std::io::Cursor;
use std::path::Path;

use super::*;

/// A stream with everything that a client says, and what it is answered.
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
        self.heard.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The types of the answers to these packets, and the last answer behind its number.
fn answers(packets: Vec<Writer>) -> (Vec<u8>, Vec<u8>) {
    let said = packets.into_iter().flat_map(|packet| Writer::default().string(packet.into_bytes()).into_bytes());
    let mut talk = Talk { said: Cursor::new(said.collect()), heard: Vec::new() };
    serve(&mut talk).unwrap();
    let mut reader = Reader::new(&talk.heard);
    let (mut kinds, mut last) = (Vec::new(), Vec::new());
    while let Ok(answer) = reader.string() {
        kinds.push(answer[0]);
        last = answer[5..].to_vec();
    }
    (kinds, last)
}

fn request(kind: u8) -> Writer {
    Writer::message(kind).u32(1)
}

fn name(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// The number of a status.
fn status(packets: Vec<Writer>) -> u32 {
    let (kinds, last) = answers(packets);
    assert_eq!(kinds.last(), Some(&kind::STATUS));
    Reader::new(&last).u32().unwrap()
}

#[test]
fn a_file_is_written_and_read() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    let handle = [0; 4];
    let (kinds, last) = answers(vec![
        Writer::message(kind::INIT).u32(3),
        request(kind::OPEN).string(name(&path)).u32(2 | 1 | 8 | 0x10).u32(4).u32(0o640),
        request(kind::WRITE).string(handle).u64(3).string("text"),
        request(kind::READ).string(handle).u64(1).u32(100),
    ]);
    assert_eq!(kinds, [kind::VERSION, kind::HANDLE, kind::STATUS, kind::DATA]);
    assert_eq!(Reader::new(&last).string().unwrap(), b"\0\0text");
    let (_, last) = answers(vec![request(kind::STAT).string(name(&path))]);
    let read = attributes::Attributes::read(&mut Reader::new(&last)).unwrap();
    assert_eq!((read.size, read.mode), (Some(7), Some(0o100_640)));
    // A file that is there is not replaced by a plain rename.
    let other = scratch.path().join("other");
    std::fs::write(&other, "").unwrap();
    let rename = || request(kind::RENAME).string(name(&path)).string(name(&other));
    assert_eq!(status(vec![rename()]), 4);
    let posix = request(kind::EXTENDED).string("posix-rename@openssh.com").string(name(&path)).string(name(&other));
    assert_eq!(status(vec![posix]), 0);
    assert_eq!(std::fs::read(&other).unwrap(), b"\0\0\0text");
}

#[test]
fn a_directory_is_listed_to_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    for number in 0..150 {
        std::fs::write(scratch.path().join(number.to_string()), "").unwrap();
    }
    let list = || request(kind::READDIR).string([0; 4]);
    let open = request(kind::OPENDIR).string(name(scratch.path()));
    let (kinds, _) = answers(vec![open, list(), list(), list()]);
    assert_eq!(kinds, [kind::HANDLE, kind::NAME, kind::NAME, kind::STATUS]);
}

#[test]
fn an_owner_that_is_nobody_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    let change = |packet: Writer| packet.u32(2).u32(u32::MAX).u32(u32::MAX);
    let open = request(kind::OPEN).string(name(&path)).u32(2 | 8).u32(0);
    assert_eq!(status(vec![open, change(request(kind::FSETSTAT).string([0; 4]))]), 0);
    assert_eq!(status(vec![change(request(kind::SETSTAT).string(name(&path)))]), 0);
}

#[test]
fn failures_have_numbers() {
    let gone = || Writer::default().string("/nonexistent/file").into_bytes();
    for (packet, expected) in [
        (request(kind::STAT).raw(&gone()), 2),
        (request(kind::REMOVE).raw(&gone()), 2),
        (request(kind::READ).string([9; 4]).u64(0).u32(1), 5),
        (request(kind::CLOSE).string("no number"), 5),
        (request(kind::OPEN), 5),
        (request(77), 8),
        (request(kind::EXTENDED).string("unknown"), 8),
    ] {
        assert_eq!(status(vec![packet.clone()]), expected, "{packet:?}");
    }
}

#[test]
fn what_is_no_packet_ends_the_conversation() {
    for bytes in [&[0xff, 0xff, 0xff, 0xff, 1][..], &[0, 0, 0, 9, 1], &[0, 0, 0, 2, 3, 0]] {
        let mut talk = Talk { said: Cursor::new(bytes.to_vec()), heard: Vec::new() };
        assert!(serve(&mut talk).is_err(), "{bytes:?}");
    }
}
