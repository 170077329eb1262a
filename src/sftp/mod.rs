//! Files over a stream: the SFTP protocol, version 3, as OpenSSH speaks it (draft-ietf-secsh-filexfer-02 and OpenSSH's
//! `PROTOCOL`). It runs as a process of the box, and so every path is looked up by the box's own rules and rights.
//!
//! ```text
//! length (4) | type (1) | request id (4) | what belongs to the type
//! ```
//!
//! One request after the other is read, done and answered. What the client does not take stays in the stream, so that no
//! more than one answer is in memory.

use std::io::{self, Read, Write};

mod answer;
mod attributes;
mod handles;
mod requests;

use answer::Answer;
use handles::Handles;
use requests::Requests;

use crate::wire::{Reader, Writer};

/// The version that is spoken.
const VERSION: u32 = 3;
/// A packet is at most this long, as with OpenSSH.
const MAX_PACKET_BYTES: u32 = 256 << 10;
/// The most that is read or written by one request: the rest of a packet is for its head.
const MAX_DATA_BYTES: u32 = MAX_PACKET_BYTES - 1024;

/// Extensions that are announced, with their versions.
const EXTENSIONS: [(&str, &str); 8] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
];

/// The numbers of packets.
mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const LSTAT: u8 = 7;
    pub const FSTAT: u8 = 8;
    pub const SETSTAT: u8 = 9;
    pub const FSETSTAT: u8 = 10;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const RMDIR: u8 = 15;
    pub const REALPATH: u8 = 16;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const READLINK: u8 = 19;
    pub const SYMLINK: u8 = 20;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// Serves the client at the other end of `stream` until it has nothing more to ask. Relative paths begin in the current
/// directory.
pub fn serve(mut stream: impl Read + Write) -> io::Result<()> {
    let mut requests = Requests { handles: Handles::default() };
    let mut packet = Vec::new();
    while read_packet(&mut stream, &mut packet)? {
        let Some((kind, rest)) = packet.split_first() else { continue };
        let answer = if *kind == kind::INIT {
            let start = Writer::message(kind::VERSION).u32(VERSION);
            EXTENSIONS.iter().fold(start, |start, (name, version)| start.string(name).string(version)).into_bytes()
        } else {
            let mut reader = Reader::new(rest);
            // Without a number there is nobody to answer.
            let id = reader.u32().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            requests.answer(*kind, reader).unwrap_or_else(Answer::from).write(id)
        };
        let length = u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// Reads a packet in place of the last one. `false`: the client is done.
fn read_packet(stream: &mut impl Read, packet: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_PACKET_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too long"));
    }
    packet.resize(length as usize, 0);
    stream.read_exact(packet)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
