//! What is asked, and done.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use super::answer::{Answer, Fault};
use super::attributes::{Attributes, long_name};
use super::handles::{Handle, Handles, MAX_HANDLES};
use super::{MAX_DATA_BYTES, MAX_PACKET_BYTES, kind};
use crate::wire::{Reader, Writer};

/// Names in one answer about a directory; their lengths are bounded by the kernel.
const NAMES_AT_A_TIME: usize = 100;

/// A client's requests.
#[derive(Debug)]
pub struct Requests {
    /// What it has open.
    pub handles: Handles,
}

/// A path of the client. The empty one is where it began.
fn path<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Fault> {
    let path = reader.string()?;
    Ok(if path.is_empty() { b"." } else { path })
}

impl Requests {
    /// Does what a packet of this kind asks; `reader` is behind the request's number.
    pub fn answer(&mut self, kind: u8, mut reader: Reader<'_>) -> Result<Answer, Fault> {
        let reader = &mut reader;
        match kind {
            kind::OPEN => self.open(reader),
            kind::CLOSE => self.handles.remove(reader).map(|()| Answer::Done),
            kind::READ => self.read(reader),
            kind::WRITE => self.write(reader),
            kind::LSTAT => Ok(Answer::Attributes((&rustix::fs::lstat(path(reader)?)?).into())),
            kind::STAT => Ok(Answer::Attributes((&rustix::fs::stat(path(reader)?)?).into())),
            kind::FSTAT => {
                let (file, _) = self.handles.file(reader)?;
                Ok(Answer::Attributes((&rustix::fs::fstat(file)?).into()))
            }
            kind::SETSTAT => {
                let path = path(reader)?;
                done(Attributes::read(reader)?.apply(path, AtFlags::empty()))
            }
            kind::FSETSTAT => {
                let (file, _) = self.handles.file(reader)?;
                done(Attributes::read(reader)?.apply_to_file(file))
            }
            kind::OPENDIR => {
                let path = path(reader)?;
                let entries = std::fs::read_dir(Path::new(OsStr::from_bytes(path)))?;
                self.handles.insert(Handle::Directory(entries, path.to_vec())).map(Answer::Handle)
            }
            kind::READDIR => self.read_directory(reader),
            kind::REMOVE => done(rustix::fs::unlink(path(reader)?)),
            kind::MKDIR => {
                let path = path(reader)?;
                done(rustix::fs::mkdir(path, Attributes::read(reader)?.mode_or(0o777)))
            }
            kind::RMDIR => done(rustix::fs::rmdir(path(reader)?)),
            kind::REALPATH => real_path(path(reader)?),
            kind::RENAME => {
                let (from, to) = (path(reader)?, path(reader)?);
                // In this version of the protocol nothing is replaced.
                done(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE))
            }
            kind::READLINK => {
                let target = rustix::fs::readlink(path(reader)?, Vec::new())?.into_bytes();
                let shown = String::from_utf8_lossy(&target).into_owned();
                Ok(Answer::Names(vec![(target, shown, Attributes::default())]))
            }
            kind::SYMLINK => {
                // In OpenSSH's order, which every client follows.
                let (target, link) = (reader.string()?, path(reader)?);
                done(rustix::fs::symlink(target, link))
            }
            kind::EXTENDED => self.extended(reader),
            _ => Err(Fault::Unsupported),
        }
    }

    fn open(&mut self, reader: &mut Reader<'_>) -> Result<Answer, Fault> {
        let path = path(reader)?;
        let flags = reader.u32()?;
        let mode = Attributes::read(reader)?.mode_or(0o666);
        let has = |flag: u32| flags & flag != 0;
        let mut open = match (has(1), has(2)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        let append = has(4);
        for (flag, meaning) in [(4, OFlags::APPEND), (8, OFlags::CREATE), (0x10, OFlags::TRUNC), (0x20, OFlags::EXCL)] {
            if has(flag) {
                open |= meaning;
            }
        }
        let file = rustix::fs::open(path, open | OFlags::CLOEXEC | OFlags::NOCTTY, mode)?;
        self.handles.insert(Handle::File(file.into(), append)).map(Answer::Handle)
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<Answer, Fault> {
        let (file, _) = self.handles.file(reader)?;
        let (offset, size) = (reader.u64()?, reader.u32()?.min(MAX_DATA_BYTES));
        let mut data = vec![0; size as usize];
        let got = file.read_at(&mut data, offset)?;
        if got == 0 && size > 0 {
            return Ok(Answer::End);
        }
        data.truncate(got);
        Ok(Answer::Data(data))
    }

    fn write(&mut self, reader: &mut Reader<'_>) -> Result<Answer, Fault> {
        let (mut file, append) = self.handles.file(reader)?;
        let offset = reader.u64()?;
        let data = reader.string()?;
        if append {
            std::io::Write::write_all(&mut file, data)?;
        } else {
            file.write_all_at(data, offset)?;
        }
        Ok(Answer::Done)
    }

    fn read_directory(&mut self, reader: &mut Reader<'_>) -> Result<Answer, Fault> {
        let Handle::Directory(entries, directory) = self.handles.get(reader)? else { return Err(Fault::Malformed) };
        let mut names = Vec::new();
        while names.len() < NAMES_AT_A_TIME {
            let Some(entry) = entries.next() else { break };
            let name = entry?.file_name().as_bytes().to_vec();
            let whole = [&directory[..], b"/", &name].concat();
            // One that has just gone is not there.
            let Ok(stat) = rustix::fs::lstat(whole) else { continue };
            let long = long_name(&name, &stat);
            names.push((name, long, Attributes::from(&stat)));
        }
        Ok(if names.is_empty() { Answer::End } else { Answer::Names(names) })
    }

    fn extended(&mut self, reader: &mut Reader<'_>) -> Result<Answer, Fault> {
        match reader.string()? {
            b"posix-rename@openssh.com" => {
                let (from, to) = (path(reader)?, path(reader)?);
                done(rustix::fs::rename(from, to))
            }
            b"hardlink@openssh.com" => {
                let (from, to) = (path(reader)?, path(reader)?);
                done(rustix::fs::link(from, to))
            }
            b"fsync@openssh.com" => {
                let (file, _) = self.handles.file(reader)?;
                done(rustix::fs::fsync(file))
            }
            b"lsetstat@openssh.com" => {
                let path = path(reader)?;
                done(Attributes::read(reader)?.apply(path, AtFlags::SYMLINK_NOFOLLOW))
            }
            b"statvfs@openssh.com" => Ok(space(&rustix::fs::statvfs(path(reader)?)?)),
            b"fstatvfs@openssh.com" => {
                let (file, _) = self.handles.file(reader)?;
                Ok(space(&rustix::fs::fstatvfs(file)?))
            }
            b"limits@openssh.com" => {
                let limits = Writer::default().u64(MAX_PACKET_BYTES.into()).u64(MAX_DATA_BYTES.into());
                let limits = limits.u64(MAX_DATA_BYTES.into()).u64(MAX_HANDLES as u64);
                Ok(Answer::Extended(limits.into_bytes()))
            }
            b"expand-path@openssh.com" => {
                // Relative paths begin at home.
                let path = path(reader)?;
                real_path(path.strip_prefix(b"~/").unwrap_or(if path == b"~" { b"." } else { path }))
            }
            _ => Err(Fault::Unsupported),
        }
    }
}

fn done<E>(result: Result<(), E>) -> Result<Answer, Fault>
where
    Fault: From<E>,
{
    result.map(|()| Answer::Done).map_err(Fault::from)
}

/// The path without symlinks and dots; its last part need not exist.
fn real_path(path: &[u8]) -> Result<Answer, Fault> {
    let path = Path::new(OsStr::from_bytes(path));
    let real = match std::fs::canonicalize(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(Errno::NOENT)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::canonicalize(parent)?.join(name)
        }
        other => other?,
    };
    let shown = real.to_string_lossy().into_owned();
    Ok(Answer::Names(vec![(real.as_os_str().as_bytes().to_vec(), shown, Attributes::default())]))
}

fn space(of: &rustix::fs::StatVfs) -> Answer {
    let numbers = [
        of.f_bsize,
        of.f_frsize,
        of.f_blocks,
        of.f_bfree,
        of.f_bavail,
        of.f_files,
        of.f_ffree,
        of.f_favail,
        of.f_fsid,
        // Read-only and without setuid: the two that the protocol knows.
        of.f_flag.bits() & 3,
        of.f_namemax,
    ];
    Answer::Extended(numbers.iter().fold(Writer::default(), |written, number| written.u64(*number)).into_bytes())
}
