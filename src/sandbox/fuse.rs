//! The root file system stacked by `fuse-overlayfs`, where the kernel's overlayfs will not do.
//!
//! The supervisor starts the program, as it starts the network helper. It is the root of the box's user namespace, for
//! the files belong to the box's ids, but it stays in the pid namespace of the host: the box neither sees nor reaches
//! it. It has a mount namespace of its own with nothing in it but this, so that whatever the content of the layers
//! makes it do, it finds no file of the host that the box does not have already:
//!
//! ```text
//! /0 /1 ..          the read-only layers, the topmost first
//! /host/usr ..      the host's directories: the lowest layer of the host base
//! /own/..           the directory that holds both the writable layer and the work directory, writable
//! /usr /lib ..      the program's libraries, read-only      /fuse-overlayfs  the program
//! /proc             the program reads attributes through /proc/self/fd
//! ```
//!
//! The file system is mounted here, detached, before the program is executed; init gets the mount through a socket and
//! attaches it in its own namespace. The program is handed the opened `/dev/fuse`. It ends when the last mount namespace
//! that has the file system is gone.
//!
//! A build mounts trees in the same way for a piece of work of its own ([`Served`]); there, whoever starts the program is in
//! the user namespace already.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::caps;
use super::overlay::{Stack, Writable};
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::{Root, open_directory, open_path};
use crate::sys::mount::{self, Attributes, Mount, Parameter};
use crate::sys::{Context, SysError, SysResult, process, socket, terminal};
use crate::userns::idmap::{IdMap, IdMode};

/// What programs and their libraries are made of.
const SYSTEM: [&str; 10] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu", "/etc/ld.so.cache"];

/// What stands for an id that is not in the map, as the kernel sets it (`/proc/sys/kernel/overflowuid`).
const UNMAPPED: u32 = 65_534;

/// How much of what the program says is kept, in bytes.
const SAID_BYTES: usize = 4096;

/// How long the program may take to write what is left when nobody has the file system any more.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be stacked.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The program, absolute.
    pub program: &'a Path,
    /// The layers; none that is data-only.
    pub stack: &'a Stack,
    /// Host directories: together, each at its own path, they are the lowest layer.
    pub host_directories: &'a [PathBuf],
    /// The ids of the files.
    pub map: &'a IdMap,
    /// An empty directory, on which the program's own root is put together.
    pub staging: &'a Path,
}

/// The running program. Killed when the process that started it dies.
#[derive(Debug)]
pub struct Server {
    pid: Pid,
    /// Its standard error; closed when it ends.
    stderr: OwnedFd,
    said: Vec<u8>,
}

/// Starts the program. `user` is the user namespace that it enters; without one it stays in the caller's, whose root the
/// caller is. The mount goes through `to`.
pub fn start(wanted: &Wanted<'_>, user: Option<BorrowedFd<'_>>, to: UnixStream) -> SysResult<Server> {
    let (stderr, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)
        .call(|| "pipe2".to_owned())?;
    let parent = rustix::process::getpid();
    match fork()? {
        Forked::Parent { pid } => Ok(Server { pid, stderr, said: Vec::new() }),
        Forked::Child => {
            let kept: Vec<_> = user.iter().map(AsRawFd::as_raw_fd).chain([to.as_raw_fd()]).collect();
            let failed = terminal::install_as_standard(write.as_fd(), 2)
                .and_then(|()| process::close_all_but(&kept))
                .and_then(|()| enter(user, wanted.map, parent))
                .and_then(|()| serve(wanted, &to));
            if let Err(error) = failed {
                // Nobody can be told that the pipe is full or closed.
                rustix::io::write(rustix::stdio::stderr(), error.to_string().as_bytes()).ok();
            }
            exit_now(1)
        }
    }
}

/// Receives the mount from the program's process. `ENOTCONN`: it ended.
pub fn receive(from: &UnixStream) -> SysResult<Mount> {
    let mut descriptors = Vec::new();
    socket::receive_with_descriptors(from, &mut [0], &mut descriptors)?;
    let fd = descriptors.pop().ok_or_else(|| SysError::new("receive the mount of `fuse-overlayfs`", Errno::NOTCONN))?;
    Ok(Mount::received(fd, "fuse-overlayfs"))
}

/// A file system that the program serves for the calling process.
#[derive(Debug)]
pub struct Served {
    mount: Mount,
    server: Server,
}

impl Served {
    /// Starts the program and mounts, detached. The caller is the root of the namespace that the ids are those of.
    pub fn mount(wanted: &Wanted<'_>) -> SysResult<Self> {
        let (ours, theirs) = UnixStream::pair().call(|| "socketpair".to_owned())?;
        let mut server = start(wanted, None, theirs)?;
        match receive(&ours) {
            Ok(mount) => Ok(Self { mount, server }),
            Err(error) => {
                let ended = server.wait_beside(None, Some(PATIENCE))?;
                Err(server.said().filter(|_| ended).map_or(error, |said| SysError::new(said, Errno::NOTCONN)))
            }
        }
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.mount.root()
    }

    /// Unmounts and waits until everything is written; returns what the program said last, untrusted. Nobody else may have
    /// the file system open.
    pub fn finish(mut self) -> SysResult<Option<String>> {
        drop(self.mount);
        let all_written = self.server.wait_beside(None, Some(PATIENCE))?;
        let said = self.server.said();
        self.server.finish(Duration::ZERO)?;
        if all_written { Ok(said) } else { Err(SysError::new("unmount `fuse-overlayfs`", Errno::TIMEDOUT)) }
    }
}

impl Server {
    /// Sleeps until the program or the process behind `other` (a pidfd) has ended, or for `timeout`. Whether the program
    /// has.
    pub fn wait_beside(&mut self, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> SysResult<bool> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let stderr = self.stderr.as_fd();
            let mut set = vec![PollFd::from_borrowed_fd(stderr, PollFlags::IN)];
            set.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut set, left.as_ref()) {
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).call(|| "poll".to_owned()),
                Ok(0) => return Ok(false),
                Ok(_) => {}
            }
            let (spoke, other_ended) =
                (!set[0].revents().is_empty(), set.get(1).is_some_and(|fd| !fd.revents().is_empty()));
            if spoke && self.listen()? {
                return Ok(true);
            }
            if other_ended {
                return Ok(false);
            }
        }
    }

    /// Becomes readable when the program speaks or ends.
    pub fn standard_error(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }

    /// Whether it still serves. Takes what it said.
    pub fn lives(&mut self) -> bool {
        !self.listen().unwrap_or(true)
    }

    /// Takes what there is on standard error. True at its end.
    fn listen(&mut self) -> SysResult<bool> {
        let mut buffer = [0; 1024];
        loop {
            match rustix::io::read(&self.stderr, &mut buffer) {
                Ok(0) => return Ok(true),
                Ok(size) => {
                    self.said.extend_from_slice(&buffer[..size]);
                    let surplus = self.said.len().saturating_sub(SAID_BYTES);
                    self.said.drain(..surplus);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).call(|| "read `standard error`".to_owned()),
            }
        }
    }

    /// What it said last; untrusted.
    pub fn said(&self) -> Option<String> {
        last_words(&String::from_utf8_lossy(&self.said)).map(str::to_owned)
    }

    /// Waits for its end, which follows that of the box when everything is written, and kills it after `patience`.
    pub fn finish(mut self, patience: Duration) -> SysResult<()> {
        if !self.wait_beside(None, Some(patience))? {
            nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGKILL)
                .call(|| format!("kill `{}`", self.pid))?;
        }
        process::wait(self.pid).map(drop)
    }
}

/// The last line that tells something. Of options that mean nothing to it the program speaks at each start.
fn last_words(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("unknown argument ignored"))
}

/// Becomes the root of the user namespace `user`, if it is not already there, in a mount namespace of its own.
fn enter(user: Option<BorrowedFd<'_>>, map: &IdMap, parent: rustix::process::Pid) -> SysResult<()> {
    if let Some(user) = user {
        rustix::thread::move_into_link_name_space(user, Some(rustix::thread::LinkNameSpaceType::User))
            .call(|| "setns `user`".to_owned())?;
        if map.uid_outside(0).is_some() {
            process::become_namespace_root(map.mode != IdMode::Single)?;
        }
    }
    // The change of ids clears it, so it comes after.
    process::die_with(parent)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).call(|| "unshare `mount`".to_owned())?;
    mount::make_everything_private()
}

/// Furnishes the namespace, mounts, hands the mount over, and becomes the program.
fn serve(wanted: &Wanted<'_>, to: &UnixStream) -> SysResult<()> {
    let Wanted { program, map, staging, .. } = *wanted;
    let directory = Mount::new("tmpfs", &[Parameter::Value("mode", "755".into())], Attributes::NO_DEVICES)?;
    directory.attach(open_path(staging)?.as_fd(), staging)?;
    let handle = open_directory(staging)?;
    let options = furnish(Root::new(handle.as_fd()), wanted)?;

    let device = rustix::fs::open(
        "/dev/fuse",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .call(|| "open `/dev/fuse`".to_owned())?;
    let mount = mount_on(&device, map)?;
    socket::send_with_descriptors(to, b"m", &[mount.root()])?;
    drop(mount);

    mount::pivot_into(handle.as_fd())?;
    drop(handle);
    process::set_no_new_privileges()?;
    // No more rights than the root of the box has itself.
    caps::apply().map_err(|error| SysError::new(error.to_string(), Errno::PERM))?;
    rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::empty()).call(|| "fcntl `/dev/fuse`".to_owned())?;
    let place = format!("/dev/fd/{}", device.as_raw_fd());
    let arguments = ["fuse-overlayfs", "-f", "-o", &options, &place].map(c_string);
    let Err(errno) = nix::unistd::execve(
        &c_string("/fuse-overlayfs"),
        &arguments,
        &[c_string("LC_ALL=C"), c_string("PATH=/usr/bin")],
    );
    Err(errno).call(|| format!("execve `{}`", program.display()))
}

/// The file system, which answers once the program runs.
fn mount_on(device: &OwnedFd, map: &IdMap) -> SysResult<Mount> {
    let owner = if map.uid_outside(0).is_some() { 0 } else { map.user };
    let value = |key, value: String| Parameter::Value(key, value);
    let parameters = [
        value("source", "overlay".into()),
        value("subtype", "fuse-overlayfs".into()),
        value("fd", device.as_raw_fd().to_string()),
        value("rootmode", "40755".into()),
        value("user_id", owner.to_string()),
        value("group_id", owner.to_string()),
        Parameter::Flag("default_permissions"),
        Parameter::Flag("allow_other"),
    ];
    Mount::new("fuse", &parameters, Attributes::default())
}

/// Binds everything below `root`; returns the program's options.
fn furnish(root: Root<'_>, wanted: &Wanted<'_>) -> SysResult<String> {
    let Wanted { program, stack, host_directories, map, .. } = *wanted;
    let mut lower = Vec::new();
    for (number, layer) in stack.lower.iter().enumerate() {
        let place = format!("/{number}");
        bind(root, layer, Path::new(&place), Access::Read)?;
        lower.push(place);
    }
    for directory in host_directories {
        let below = directory.strip_prefix("/").unwrap_or(directory);
        bind(root, directory, &Path::new("/host").join(below), Access::Read)?;
    }
    if !host_directories.is_empty() {
        lower.push("/host".to_owned());
    }
    let mut own = None;
    if let Some(Writable { upper, work, is_volatile }) = &stack.writable {
        std::fs::create_dir_all(work).call(|| format!("mkdir `{}`", work.display()))?;
        // Under one mount, for files are renamed from one to the other.
        let both = common_parent(upper, work);
        bind(root, &both, Path::new("/own"), Access::ReadWrite)?;
        let inside = |path: &Path| Path::new("/own").join(path.strip_prefix(&both).unwrap_or(path));
        own = Some(Writable { upper: inside(upper), work: inside(work), is_volatile: *is_volatile });
    }

    for path in SYSTEM.map(Path::new) {
        match path.symlink_metadata() {
            Err(_) => {}
            Ok(meta) if meta.is_symlink() => {
                let target = std::fs::read_link(path).call(|| format!("readlink `{}`", path.display()))?;
                root.symlink(&target.to_string_lossy(), path)?;
            }
            Ok(_) => bind(root, path, path, Access::Read)?,
        }
    }
    bind(root, program, Path::new("/fuse-overlayfs"), Access::Read)?;
    bind(root, Path::new("/proc"), Path::new("/proc"), Access::Read)?;
    Ok(options(&lower, own.as_ref(), map, !host_directories.is_empty()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    ReadWrite,
}

fn bind(root: Root<'_>, source: &Path, target: &Path, access: Access) -> SysResult<()> {
    let from = open_path(source)?;
    let place =
        if crate::sys::fs::is_directory(&from)? { root.create_directory(target)? } else { root.create_file(target)? };
    let mount = Mount::copy(from.as_fd(), &source.to_string_lossy(), true)?;
    let attributes = Attributes::NO_DEVICES | Attributes::NO_SUID;
    mount.restrict(if access == Access::Read { attributes | Attributes::READ_ONLY } else { attributes }, true)?;
    mount.attach(place.as_fd(), target)
}

/// The deepest directory that holds both.
fn common_parent(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// The value of `-o`. Pure.
fn options(lower: &[String], own: Option<&Writable>, map: &IdMap, host: bool) -> String {
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some(Writable { upper, work, .. }) = own {
        options.push_str(&format!(",upperdir={},workdir={}", upper.display(), work.display()));
    }
    if map.mode == IdMode::Single {
        // There is no other owner.
        options.push_str(&format!(",squash_to_uid={0},squash_to_gid={0}", map.user));
    } else if host {
        // What belongs to ids that the box has not is root's; everybody else stays who he is. Where two ids are shown as
        // one, the last in this list is what is written.
        let ids = format!("{UNMAPPED}:0:1:{0}:{0}:{1}:0:0:{UNMAPPED}", UNMAPPED + 1, u32::MAX - UNMAPPED - 1);
        options.push_str(&format!(",uidmapping={ids},gidmapping={ids}"));
    }
    options
}

fn c_string(text: impl AsRef<str>) -> CString {
    // None of ours has a NUL; a path of the store with one could not have been made.
    CString::new(std::ffi::OsString::from(text.as_ref()).into_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_by_map() {
        let lower = ["/0", "/host"].map(str::to_owned);
        let own = Writable { upper: "/own/upper/fs".into(), work: "/own/work/fuse".into(), is_volatile: false };
        let of = |map: &IdMap, host| options(&lower, Some(&own), map, host);
        let range = IdMap::range(0, 1000, 1000, &[(100_000, 65_535)], &[(100_000, 65_535)]);
        assert_eq!(of(&range, false), "lowerdir=/0:/host,upperdir=/own/upper/fs,workdir=/own/work/fuse");
        let ids = "65534:0:1:65535:65535:4294901760:0:0:65534";
        assert!(of(&range, true).ends_with(&format!(",uidmapping={ids},gidmapping={ids}")));
        assert!(of(&IdMap::single(1000, 1, 2), true).ends_with(",squash_to_uid=1000,squash_to_gid=1000"));
        assert_eq!(options(&lower, None, &range, false), "lowerdir=/0:/host");
    }

    #[test]
    fn what_is_said_at_each_start_is_no_reason() {
        let noise = "unknown argument ignored: lazytime\n";
        assert_eq!(last_words(noise), None);
        assert_eq!(last_words(&format!("cannot read upper dir\n{noise}\n")), Some("cannot read upper dir"));
    }

    #[test]
    fn one_mount_for_both_writable_directories() {
        for (upper, work, expected) in
            [("/d/b/upper/fs", "/d/b/work/fuse", "/d/b"), ("/d/b/s/fs", "/d/b/s/work/fuse", "/d/b/s")]
        {
            assert_eq!(common_parent(Path::new(upper), Path::new(work)), Path::new(expected));
        }
    }
}
