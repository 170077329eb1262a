//! A small process of ours that looks after what is guarded, from outside the box.
//!
//! It is a fork of the supervisor in the box's user and mount namespaces, but not in its pid namespace: the box neither
//! sees nor reaches it. When something on the host replaces or removes a guarded file or a folder above it, the kernel
//! takes the cover away; the keeper is told by inotify, makes a placeholder where nothing is left, and covers again.
//! Between the two lies a moment in which the box sees what is new.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::Pid;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::placeholder::Placeholders;
use super::{Guarded, Guards, cover};
use crate::sandbox::init::EventLog;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::{Root, open_directory};
use crate::sys::process::Ended;
use crate::sys::{Context, SysError, SysResult, process};

/// The namespaces of a box in which the keeper works.
#[derive(Debug)]
pub struct Namespaces {
    user: OwnedFd,
    mount: OwnedFd,
}

impl Namespaces {
    /// Those of the process `init`. Call it before that process makes itself undumpable.
    pub fn of(init: Pid) -> SysResult<Self> {
        let open = |name: &str| {
            let path = format!("/proc/{init}/ns/{name}");
            File::open(&path).map(OwnedFd::from).call(|| format!("open `{path}`"))
        };
        Ok(Self { user: open("user")?, mount: open("mnt")? })
    }

    /// Their descriptors.
    #[must_use]
    pub fn descriptors(&self) -> [i32; 2] {
        [self.user.as_raw_fd(), self.mount.as_raw_fd()]
    }

    /// Moves this process into them.
    pub fn enter(&self) -> SysResult<()> {
        for (namespace, kind) in [(&self.user, LinkNameSpaceType::User), (&self.mount, LinkNameSpaceType::Mount)] {
            move_into_link_name_space(namespace.as_fd(), Some(kind)).call(|| format!("setns `{kind:?}`"))?;
        }
        Ok(())
    }
}

/// The keeper of a box; it ends with this value.
#[derive(Debug)]
pub struct Keeper {
    pid: Option<Pid>,
    process: OwnedFd,
}

impl Keeper {
    /// Forks it off. The caller has one thread.
    pub fn start(
        namespaces: &Namespaces,
        guards: &Guards,
        placeholders: Option<Placeholders>,
        log: &EventLog,
    ) -> SysResult<Self> {
        let supervisor = rustix::process::getpid();
        match fork()? {
            Forked::Parent { pid } => {
                let call = || format!("pidfd_open `{pid}`");
                let raw =
                    rustix::process::Pid::from_raw(pid.as_raw()).ok_or_else(|| SysError::new(call(), Errno::SRCH))?;
                Ok(Self { pid: Some(pid), process: pidfd_open(raw, PidfdFlags::empty()).call(call)? })
            }
            Forked::Child => {
                let ended = keep(namespaces, guards, placeholders, log, supervisor);
                if let Err(error) = &ended {
                    log.append("failed", &[("error", &format!("cannot follow what the host changes: {error}"))]);
                }
                // A user may have so many watches and no more. The box cannot bring that about.
                let spent = |error: &SysError| matches!(error.errno, Errno::MFILE | Errno::NOSPC | Errno::NFILE);
                exit_now(i32::from(!ended.as_ref().is_err_and(spent)))
            }
        }
    }
}

impl Keeper {
    /// Readable when it has ended.
    #[must_use]
    pub fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Waits for one that has ended. Whether the box is unguarded.
    pub fn has_failed(&mut self) -> SysResult<bool> {
        self.pid.take().map_or(Ok(false), |pid| Ok(process::wait(pid)? != Ended::Exited(0)))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // It may have ended; then there is nothing to kill.
            pidfd_send_signal(&self.process, Signal::KILL).ok();
            process::wait(pid).ok();
        }
    }
}

/// Returns only what went wrong.
fn keep(
    namespaces: &Namespaces,
    guards: &Guards,
    placeholders: Option<Placeholders>,
    log: &EventLog,
    supervisor: rustix::process::Pid,
) -> SysResult<()> {
    let kept: Vec<i32> = namespaces
        .descriptors()
        .into_iter()
        .chain(log.descriptor())
        .chain(placeholders.iter().flat_map(Placeholders::descriptors))
        .collect();
    process::close_all_but(&kept)?;
    process::set_title("devbox: keeper")?;
    process::set_undumpable()?;
    let source = open_directory(&guards.source)?;
    namespaces.enter()?;
    // Joining a user namespace has cleared it.
    process::die_with_parent()?;
    if rustix::process::getppid() != Some(supervisor) {
        return Err(SysError::new("getppid", Errno::SRCH));
    }
    // The box has begun: it may have put something else in the place of the path, but can mount nothing.
    let box_root = open_directory(Path::new("/"))?;
    let root = Root::new(box_root.as_fd());
    let folder = root.open_with(&guards.target, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let null = root.open(Path::new("/dev/null"))?;
    let (expected, found) = (stat(&source)?, stat(&folder)?);
    if (expected.st_dev, expected.st_ino) != (found.st_dev, found.st_ino) {
        return Err(SysError::new(format!("find `{}` in the box", guards.target.display()), Errno::STALE));
    }
    if stat(&null)?.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(SysError::new("find `/dev/null` in the box", Errno::STALE));
    }
    drop((source, box_root));
    let mut keeper =
        Watching { folder, null, paths: &guards.paths, placeholders, watches: inotify_new()?, names: Vec::new() };
    loop {
        keeper.watch()?;
        keeper.cover_all()?;
        keeper.wait()?;
    }
}

fn inotify_new() -> SysResult<OwnedFd> {
    inotify::init(CreateFlags::CLOEXEC).call(|| "inotify_init1".to_owned())
}

fn stat(fd: &OwnedFd) -> SysResult<Stat> {
    rustix::fs::fstat(fd).call(|| "fstat".to_owned())
}

struct Watching<'a> {
    /// The project's folder in the box.
    folder: OwnedFd,
    null: OwnedFd,
    paths: &'a [Guarded],
    placeholders: Option<Placeholders>,
    watches: OwnedFd,
    /// The names that matter in each watched folder.
    names: Vec<(i32, OsString)>,
}

impl Watching<'_> {
    /// Watches every folder above a guarded path that is there.
    fn watch(&mut self) -> SysResult<()> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        for path in self.paths.iter().flat_map(|guarded| guarded.path.ancestors()) {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let Some(folder) = self.open(parent)? else { continue };
            // The box's `/proc` does not know this process, so a descriptor has no path.
            rustix::process::fchdir(&folder).call(|| "fchdir".to_owned())?;
            let watch = inotify::add_watch(&self.watches, ".", flags).call(|| "inotify_add_watch".to_owned())?;
            if !self.names.iter().any(|(known, named)| *known == watch && named == name) {
                self.names.push((watch, name.to_owned()));
            }
        }
        rustix::process::fchdir(&self.folder).call(|| "fchdir".to_owned())
    }

    fn open(&self, path: &Path) -> SysResult<Option<OwnedFd>> {
        match Root::new(self.folder.as_fd()).open_plain(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Covers what is not covered.
    fn cover_all(&mut self) -> SysResult<()> {
        for guarded in self.paths {
            // Where the host cannot make it, the box cannot, either.
            if let Some(placeholders) = &mut self.placeholders {
                placeholders.reserve(self.folder.as_fd(), guarded).ok();
            }
            match cover(self.folder.as_fd(), self.null.as_fd(), guarded, true) {
                // What goes in this moment leaves an event.
                Err(error) if error.errno != Errno::NOENT => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Until something has happened to a name that matters.
    fn wait(&mut self) -> SysResult<()> {
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.watches, &mut buffer);
        let mut due = false;
        loop {
            let event = match reader.next() {
                Err(Errno::INTR) => continue,
                other => other.call(|| "read `inotify`".to_owned())?,
            };
            let gone = event.events().contains(ReadFlags::IGNORED);
            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let matters =
                self.names.iter().any(|(watch, known)| *watch == event.wd() && Some(known.as_os_str()) == name);
            if gone {
                self.names.retain(|(watch, _)| *watch != event.wd());
            }
            due |= matters || lost || gone;
            if due && reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}
