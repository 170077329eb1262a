//! Reading a tar stream: headers from `tar-core`, content in pieces, the digest of all of it.

use std::sync::mpsc::Sender;

use tar_core::HEADER_SIZE;
use tar_core::parse::{Limits, ParseError, ParseEvent, Parser};

use super::entry::Entry;
use super::error::{EntryError, UnpackError, printable};
use super::source::{Compression, Pieces, give_back};
use crate::image::digest::Hasher;

/// Long names, attributes and sparse maps in front of one entry must fit here. The parser's own limits are lower.
const MAXIMUM_HEADERS: usize = 8 << 20;

/// One of these is the next thing in the archive.
enum Step {
    Entry { consumed: usize, entry: Box<Entry> },
    Refused { path: String, source: EntryError },
    Passed { consumed: usize },
    End { consumed: usize },
    More { minimum: usize },
}

/// A tar archive being read.
pub(super) struct Archive {
    pieces: Pieces,
    used: Sender<Vec<u8>>,
    /// What was received and is not consumed yet is `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes consumed.
    position: u64,
    /// Bytes received.
    received: u64,
    parser: Parser,
    /// `None` when the blob's digest is the tar's.
    digest: Option<Hasher>,
    entries: u64,
    /// Of these, how many were followed by something.
    complete: u64,
    last: Option<String>,
    /// Padding behind the content of the current entry.
    padding: usize,
    /// The stream has a checksum or an end of its own: the archive's may be missing.
    has_own_end: bool,
}

impl Archive {
    pub fn new(pieces: Pieces, used: Sender<Vec<u8>>, compression: Compression) -> Self {
        let limits = Limits { max_path_len: Some(4095), max_sparse_entries: 100_000, ..Limits::default() };
        let mut parser = Parser::new(limits);
        // One attribute in bytes that are no UTF-8, or a time before 1970, does not spoil an archive.
        parser.set_ignore_pax_errors(true);
        Self {
            pieces,
            used,
            buffer: Vec::new(),
            start: 0,
            position: 0,
            received: 0,
            parser,
            digest: (compression != Compression::None).then(Hasher::default),
            entries: 0,
            complete: 0,
            last: None,
            padding: 0,
            has_own_end: compression != Compression::None,
        }
    }

    /// The next entry, or `None` at the end. The content of the entry before must have been taken.
    pub fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.take_padding()?;
        self.complete = self.entries;
        loop {
            match self.step()? {
                Step::Entry { consumed, entry } => {
                    self.consume(consumed);
                    self.entries += 1;
                    self.last = Some(printable(&entry.untrusted_path));
                    self.padding = (entry.stored_size.wrapping_neg() % HEADER_SIZE as u64) as usize;
                    return Ok(Some(*entry));
                }
                Step::Refused { path, source } => return Err(UnpackError::Entry { path, source }),
                Step::Passed { consumed } => self.consume(consumed),
                Step::End { consumed } => {
                    self.consume(consumed);
                    return Ok(None);
                }
                Step::More { minimum } => {
                    // The parser may ask for less than it has when it looks for the end of a line.
                    let minimum = minimum.max(self.available() + 1);
                    while self.available() < minimum {
                        if minimum > MAXIMUM_HEADERS {
                            return Err(self.damaged(ParseError::InvalidSize(minimum as u64)));
                        }
                        if !self.receive()? {
                            return self.end_without_marker();
                        }
                    }
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, UnpackError> {
        let event = match self.parser.parse(&self.buffer[self.start..]) {
            Ok(event) => event,
            Err(ParseError::Header(_)) if self.position == 0 => return Err(UnpackError::NotTar),
            Err(source) => return Err(self.damaged(source)),
        };
        let detach = |consumed, parsed: &tar_core::parse::ParsedEntry<'_>, sparse| match Entry::new(parsed, sparse) {
            Ok(entry) => Step::Entry { consumed, entry: Box::new(entry) },
            Err(source) => Step::Refused { path: printable(&parsed.path), source },
        };
        Ok(match event {
            ParseEvent::NeedData { min_bytes } => Step::More { minimum: min_bytes },
            ParseEvent::Entry { consumed, entry } => detach(consumed, &entry, None),
            ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                detach(consumed, &entry, Some((sparse_map, real_size)))
            }
            // Defaults for later entries: comments in practice (`git archive`).
            ParseEvent::GlobalExtensions { consumed, .. } => Step::Passed { consumed },
            ParseEvent::End { consumed } => Step::End { consumed },
        })
    }

    /// The next piece of content: at least one byte and at most `most`, which must not be 0.
    pub fn content(&mut self, most: u64) -> Result<&[u8], UnpackError> {
        if self.available() == 0 && !self.receive()? {
            return Err(self.truncated());
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.available());
        let from = self.start;
        self.consume(count);
        Ok(&self.buffer[from..from + count])
    }

    /// Passes over `count` bytes of content.
    pub fn skip(&mut self, mut count: u64) -> Result<(), UnpackError> {
        while count > 0 {
            count -= self.content(count)?.len() as u64;
        }
        Ok(())
    }

    fn take_padding(&mut self) -> Result<(), UnpackError> {
        let padding = std::mem::take(&mut self.padding);
        self.skip(padding as u64)
    }

    /// Reads what follows the end marker, for the digests.
    pub fn drain(&mut self) -> Result<(), UnpackError> {
        self.start = self.buffer.len();
        while self.receive()? {
            self.start = self.buffer.len();
        }
        Ok(())
    }

    /// The digest of the tar, if it differs from the blob's.
    pub fn into_digest(self) -> Option<Hasher> {
        self.digest
    }

    fn available(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// Waits for one more piece; `false` at the end.
    fn receive(&mut self) -> Result<bool, UnpackError> {
        let piece = match self.pieces.recv() {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(self.truncated()),
            Ok(Err(source)) => return Err(UnpackError::Read { bytes: self.received, source }),
            Err(_) => return Ok(false),
        };
        self.received += piece.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(&piece);
        }
        if self.available() == 0 {
            give_back(&self.used, std::mem::replace(&mut self.buffer, piece));
            self.start = 0;
        } else {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.extend_from_slice(&piece);
            give_back(&self.used, piece);
        }
        Ok(true)
    }

    /// The stream ended where a header should be. Without the end marker a plain archive may have been cut exactly
    /// there; a compressed one is known to be whole.
    fn end_without_marker(&mut self) -> Result<Option<Entry>, UnpackError> {
        let rest = &self.buffer[self.start..];
        let at_boundary = rest.is_empty() || (rest.len() == HEADER_SIZE && rest.iter().all(|byte| *byte == 0));
        if at_boundary && (self.has_own_end || !rest.is_empty()) && self.received > 0 {
            return Ok(None);
        }
        if self.position == 0 && !rest.is_empty() && rest.len() < HEADER_SIZE {
            return Err(UnpackError::NotTar);
        }
        Err(self.truncated())
    }

    fn truncated(&self) -> UnpackError {
        UnpackError::Truncated { entries: self.complete, bytes: self.received, last: self.last.clone() }
    }

    fn damaged(&self, source: ParseError) -> UnpackError {
        UnpackError::Damaged { entries: self.entries, bytes: self.position, last: self.last.clone(), source }
    }
}
