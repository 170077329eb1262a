//! What the first process of a container wrote.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::container::Container;
use super::error::{At, DockerResult};
use crate::paths::Paths;

/// Bytes moved at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The two logs, read on as they grow.
#[derive(Debug)]
pub struct Tail {
    logs: [File; 2],
    watch: OwnedFd,
}

/// Where in the logs to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With everything.
    Beginning,
    /// With what is written from now on.
    End,
    /// With so many of the last lines of each.
    Lines(usize),
}

impl Tail {
    /// Opens the logs, which are made if they are not there yet.
    pub fn open(paths: &Paths, container: &Container, from: From) -> DockerResult<Self> {
        let directory = container.directory(paths);
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(std::io::Error::from);
        let watch = watch.at("watch", &directory)?;
        inotify::add_watch(&watch, &directory, WatchFlags::MODIFY)
            .map_err(std::io::Error::from)
            .at("watch", &directory)?;
        let open = |path: &std::path::PathBuf| -> DockerResult<File> {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).append(true).read(true).mode(0o600).open(path).at("open", path)?;
            let start = match from {
                From::Beginning => 0,
                From::End => file.seek(SeekFrom::End(0)).at("read", path)?,
                From::Lines(count) => last_lines(&mut file, count).at("read", path)?,
            };
            file.seek(SeekFrom::Start(start)).at("read", path)?;
            Ok(file)
        };
        let [output, error] = container.logs(paths);
        Ok(Self { logs: [open(&output)?, open(&error)?], watch })
    }

    /// Writes what is new. A target that nobody reads any more is left out from then on.
    pub fn pump(&mut self, targets: &mut [Option<&mut dyn Write>; 2]) {
        for (log, target) in self.logs.iter_mut().zip(targets) {
            let mut buffer = vec![0; CHUNK_BYTES];
            while let Ok(count @ 1..) = log.read(&mut buffer) {
                let written =
                    target.as_mut().map_or(Ok(()), |to| to.write_all(&buffer[..count]).and_then(|()| to.flush()));
                if written.is_err() {
                    *target = None;
                }
            }
        }
    }

    /// Waits until something was written, or one of `others` can be read or has ended; whether it was one of those, and which.
    pub fn wait(&self, others: &[BorrowedFd<'_>]) -> DockerResult<Option<usize>> {
        let mut set = vec![PollFd::new(&self.watch, PollFlags::IN)];
        set.extend(others.iter().map(|other| PollFd::from_borrowed_fd(*other, PollFlags::IN)));
        loop {
            match poll(&mut set, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(std::io::Error::from(error)).at("wait for", std::path::Path::new("the container"));
                }
            }
        }
        let mut buffer = [0; 4096];
        while matches!(rustix::io::read(self.watch.as_fd(), &mut buffer), Ok(1..)) {}
        Ok(set[1..].iter().position(|polled| !polled.revents().is_empty()))
    }
}

/// Where the last `count` lines begin. What follows the last end of a line is a line, too.
fn last_lines(file: &mut File, count: usize) -> std::io::Result<u64> {
    let whole = file.seek(SeekFrom::End(0))?;
    let (mut end, mut found) = (whole, 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    while end > 0 && count > 0 {
        let size = usize::try_from(end).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let start = end - size as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer[..size])?;
        for at in (0..size).rev() {
            let after = start + at as u64 + 1;
            if buffer[at] == b'\n' && after < whole {
                found += 1;
                if found == count {
                    return Ok(after);
                }
            }
        }
        end = start;
    }
    Ok(if count == 0 { whole } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::super::container::lock_names;
    use super::super::container::tests::{container, paths};
    use super::*;

    #[test]
    fn logs_are_read_from_anywhere() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let _names = lock_names(&paths).unwrap();
        let shop = container(&"a".repeat(64), "shop");
        shop.save(&paths).unwrap();
        std::fs::write(&shop.logs(&paths)[0], "one\ntwo\nthree\n").unwrap();
        std::fs::write(&shop.logs(&paths)[1], "bad\nhalf").unwrap();
        for (from, expected) in [
            (From::Beginning, "one\ntwo\nthree\n|bad\nhalf"),
            (From::End, "|"),
            (From::Lines(1), "three\n|half"),
            (From::Lines(2), "two\nthree\n|bad\nhalf"),
            (From::Lines(9), "one\ntwo\nthree\n|bad\nhalf"),
            (From::Lines(0), "|"),
        ] {
            let (mut output, mut error) = (Vec::new(), Vec::new());
            let mut tail = Tail::open(&paths, &shop, from).unwrap();
            tail.pump(&mut [Some(&mut output), Some(&mut error)]);
            let found = format!("{}|{}", String::from_utf8_lossy(&output), String::from_utf8_lossy(&error));
            assert_eq!(found, expected, "{from:?}");
        }
    }
}
