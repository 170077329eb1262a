//! Answers, and how failures become answers.

use rustix::io::Errno;

use super::attributes::Attributes;
use super::kind;
use crate::wire::{Truncated, Writer};

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// There is nothing more.
    End,
    /// A failure: the protocol's number, and a sentence.
    Failure(u32, String),
    /// An open file or directory.
    Handle(u32),
    /// A part of a file.
    Data(Vec<u8>),
    /// Names, each with what `ls -l` would show, and attributes.
    Names(Vec<(Vec<u8>, String, Attributes)>),
    /// Attributes.
    Attributes(Attributes),
    /// Of an extension.
    Extended(Vec<u8>),
}

/// A request that could not be done.
#[derive(Debug)]
pub enum Fault {
    /// The kernel's answer.
    Kernel(Errno),
    /// It ends too early, or names no handle of ours.
    Malformed,
    /// There is no such request.
    Unsupported,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Kernel(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl From<Truncated> for Fault {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Kernel(errno) => {
                let number = match errno {
                    Errno::NOENT | Errno::NOTDIR | Errno::LOOP => 2,
                    Errno::PERM | Errno::ACCESS => 3,
                    _ => 4,
                };
                Self::Failure(number, nix::errno::Errno::from_raw(errno.raw_os_error()).desc().to_owned())
            }
            Fault::Malformed => Self::Failure(5, "malformed request".to_owned()),
            Fault::Unsupported => Self::Failure(8, "unsupported request".to_owned()),
        }
    }
}

impl Answer {
    /// The packet that answers the request `id`.
    pub fn write(self, id: u32) -> Vec<u8> {
        let start = |kind: u8| Writer::message(kind).u32(id);
        let status = |number: u32, text: &str| start(kind::STATUS).u32(number).string(text).string("");
        match self {
            Self::Done => status(0, "Success"),
            Self::End => status(1, "End of file"),
            Self::Failure(number, text) => status(number, &text),
            Self::Handle(handle) => start(kind::HANDLE).string(handle.to_be_bytes()),
            Self::Data(data) => start(kind::DATA).string(data),
            Self::Names(names) => {
                let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
                names.into_iter().fold(start(kind::NAME).u32(count), |written, (name, long, attributes)| {
                    attributes.write(written.string(name).string(long))
                })
            }
            Self::Attributes(attributes) => attributes.write(start(kind::ATTRS)),
            Self::Extended(data) => start(kind::EXTENDED_REPLY).raw(&data),
        }
        .into_bytes()
    }
}
