//! Between an editor and a language server in the box: each gets messages with file names of its own side.
//!
//! ```text
//! editor --stdin--> [to the box] --pipe--> server --pipe--> [to the host] --stdout--> editor
//! ```
//!
//! The two in brackets are forks of the client that only read and write. They look at what begins as messages do
//! (`Content-Length: ..`); anything else, such as the answer to `--version`, passes through as it is. The server belongs to the box
//! and is hostile: a message that is too large is passed on unread.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::uri::{Direction, Names, without_process_id};
use crate::boxes::{BoxDir, window};
use crate::profile::LoadedProfile;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::pipe;
use crate::sys::process::pidfd_open;
use crate::sys::{Context, SysResult, process, terminal};

/// The largest message whose names are translated, in bytes.
const LIMIT_BYTES: usize = 64 << 20;
/// The longest header of a message, in bytes.
const HEADER_BYTES: usize = 4096;
/// How long an editor may take to read what the server said last.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every header begins with, in any case.
const START: &[u8] = b"content-";

/// Programs that are language servers by their names.
#[must_use]
pub fn is_known(program: &str) -> bool {
    const SERVERS: [&str; 21] = [
        "ansible-language-server",
        "ccls",
        "clangd",
        "elixir-ls",
        "gopls",
        "hls",
        "jdtls",
        "marksman",
        "metals",
        "neocmakelsp",
        "nil",
        "nixd",
        "ocamllsp",
        "omnisharp",
        "pylsp",
        "rust-analyzer",
        "solargraph",
        "taplo",
        "texlab",
        "tinymist",
        "zls",
    ];
    const ENDINGS: [&str; 4] = ["-language-server", "-langserver", "-lsp", "-language-server-wrapper"];
    SERVERS.contains(&program) || ENDINGS.iter().any(|ending| program.ends_with(ending))
}

/// The names of files in the box of `loaded`'s project, as the host knows them.
#[must_use]
pub fn names(loaded: &LoadedProfile, directory: &BoxDir) -> Names {
    let profile = &loaded.profile;
    let project = (profile.project.path.clone(), loaded.project.clone());
    let mounts = profile.mounts.iter().map(|mount| (mount.target.clone(), mount.source.clone()));
    Names::new(&window::path(directory), mounts.chain([project]))
}

/// The two translators of a session.
#[derive(Debug)]
pub struct Translators {
    to_host: OwnedFd,
}

impl Translators {
    /// Puts them between this process's standard streams and what will be run with these. The caller has one thread.
    pub fn start(names: &Names, directory: &BoxDir) -> SysResult<Self> {
        let (server_reads, to_server) = pipe()?;
        let (from_server, server_writes) = pipe()?;
        let inward = Pump { from: stdin()?, to: to_server, names, directory: None };
        inward.start(&[&server_reads, &server_writes, &from_server])?;
        let outward = Pump { from: from_server, to: stdout()?, names, directory: Some(directory) };
        let pid = outward.start(&[&server_reads, &server_writes])?;
        let to_host = pidfd_open(pid)?;
        terminal::install_as_standard(server_reads.as_fd(), 0)?;
        terminal::install_as_standard(server_writes.as_fd(), 1)?;
        Ok(Self { to_host })
    }

    /// Waits until the editor has what the server wrote. What a program that the server left behind writes is not waited for.
    pub fn finish(self) -> SysResult<()> {
        terminal::silence(0..2)?;
        let patience = Timespec::try_from(PATIENCE).ok();
        poll(&mut [PollFd::new(&self.to_host, PollFlags::IN)], patience.as_ref()).map(drop).call(|| "poll".to_owned())
    }
}

fn stdin() -> SysResult<OwnedFd> {
    rustix::stdio::stdin().try_clone_to_owned().call(|| "dup `0`".to_owned())
}

fn stdout() -> SysResult<OwnedFd> {
    rustix::stdio::stdout().try_clone_to_owned().call(|| "dup `1`".to_owned())
}

/// One direction.
struct Pump<'a> {
    from: OwnedFd,
    to: OwnedFd,
    names: &'a Names,
    /// The box to look into, once a name of the host's side leads there.
    directory: Option<&'a BoxDir>,
}

impl Pump<'_> {
    /// Forks it off, without the descriptors of the other side.
    fn start(self, others: &[&OwnedFd]) -> SysResult<Pid> {
        debug_assert!(others.iter().all(|other| other.as_raw_fd() > 2));
        match fork()? {
            Forked::Parent { pid } => Ok(pid),
            Forked::Child => {
                let status = process::die_with_parent()
                    .and_then(|()| process::close_all_but(&[self.from.as_raw_fd(), self.to.as_raw_fd()]));
                exit_now(i32::from(status.is_err() || self.run().is_err()))
            }
        }
    }

    fn run(self) -> std::io::Result<()> {
        let (mut from, mut to) = (std::fs::File::from(self.from), std::fs::File::from(self.to));
        let mut messages = Messages::default();
        let (mut opened, mut introduced) = (false, self.directory.is_some());
        let mut buffer = vec![0; 64 << 10];
        let mut rewrite = |message: &str| {
            let Some(directory) = self.directory else {
                let nameless = if introduced { None } else { without_process_id(message) };
                introduced |= nameless.is_some();
                let message = nameless.as_deref().unwrap_or(message);
                return self.names.message(message, Direction::ToBox).or(nameless);
            };
            let translated = self.names.message(message, Direction::ToHost)?;
            // The server says so: the box runs. What cannot be looked into is named nevertheless.
            opened = opened || window::open(directory).is_ok();
            Some(translated)
        };
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(size) => to.write_all(&messages.push(&buffer[..size], &mut rewrite))?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        to.write_all(&messages.rest())
    }
}

/// A stream of messages, or of anything.
#[derive(Debug, Default)]
struct Messages {
    waiting: Vec<u8>,
    /// The size of the message at the start of `waiting`, header included, and that of its header.
    expected: Option<(usize, usize)>,
    raw: bool,
}

impl Messages {
    /// What can be passed on after `bytes` have come. `rewrite` gives another text for a message.
    fn push(&mut self, bytes: &[u8], rewrite: &mut impl FnMut(&str) -> Option<String>) -> Vec<u8> {
        self.waiting.extend_from_slice(bytes);
        let mut out = Vec::new();
        while !self.raw {
            let Some((size, header)) = self.expected.or_else(|| self.look()) else { return out };
            self.expected = Some((size, header));
            if self.waiting.len() < size {
                return out;
            }
            let text = std::str::from_utf8(&self.waiting[header..size]).ok();
            match text.and_then(&mut *rewrite) {
                None => out.extend_from_slice(&self.waiting[..size]),
                Some(text) => {
                    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", text.len()).as_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
            self.waiting.drain(..size);
            self.expected = None;
        }
        out.append(&mut self.waiting);
        out
    }

    /// The sizes of the next message and of its header. Sets `raw` when it is no message.
    fn look(&mut self) -> Option<(usize, usize)> {
        let head = &self.waiting[..self.waiting.len().min(START.len())];
        let is_header = head.eq_ignore_ascii_case(&START[..head.len()]);
        let end = self.waiting.windows(4).take(HEADER_BYTES).position(|four| four == b"\r\n\r\n");
        let size = end.map(|end| {
            let header = String::from_utf8_lossy(&self.waiting[..end]).to_ascii_lowercase();
            let mut lines = header.split("\r\n").filter_map(|line| line.strip_prefix("content-length:"));
            lines.next().and_then(|size| size.trim().parse::<usize>().ok()).map(|size| (end + 4, size))
        });
        match size {
            Some(Some((header, size))) if is_header && size <= LIMIT_BYTES => Some((header + size, header)),
            None if is_header && self.waiting.len() < HEADER_BYTES => None,
            _ => {
                self.raw = true;
                None
            }
        }
    }

    /// What is left at the end.
    fn rest(self) -> Vec<u8> {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(chunks: &[&[u8]]) -> String {
        let mut messages = Messages::default();
        let mut rewrite = |text: &str| text.contains('x').then(|| text.replace('x', "yy"));
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(messages.push(chunk, &mut rewrite));
        }
        out.extend(messages.rest());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_are_rewritten_however_they_come() {
        let input = "Content-Length: 3\r\n\r\naxbcontent-type: z\r\nCONTENT-LENGTH:2\r\n\r\nok";
        let expected = "Content-Length: 4\r\n\r\nayybcontent-type: z\r\nCONTENT-LENGTH:2\r\n\r\nok";
        assert_eq!(pass(&[input.as_bytes()]), expected);
        let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(pass(&single), expected);
    }

    #[test]
    fn anything_else_passes() {
        let cases: [&str; 6] = [
            "clangd version 14 x\n",
            "",
            "Cont",
            "Content-Length: x\r\n\r\nx",
            "Content-Length: 99999999999\r\n\r\nxx",
            "Content-Length: 9\r\n\r\nx",
        ];
        for input in cases {
            assert_eq!(pass(&[input.as_bytes()]), input);
        }
        let endless = format!("content-{}", "x".repeat(2 * HEADER_BYTES));
        assert_eq!(pass(&[endless.as_bytes()]), endless);
    }

    #[test]
    fn servers_are_known_by_name() {
        for (program, known) in [("clangd", true), ("bash-language-server", true), ("python", false), ("node", false)] {
            assert_eq!(is_known(program), known, "{program}");
        }
    }
}
