//! `slirp4netns`: a network of its own behind an address translation. Slower than `pasta`, but needs no route on the host.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::pipe::{PipeFlags, pipe_with};

use super::{INTERFACE, NetTarget};
use crate::process::{ProcessError, Program, Running};

/// The options, without the program. Pure. Numbers of the descriptors that it inherits.
#[must_use]
pub fn arguments(ready: RawFd, exit: RawFd, own_userns: bool, root: bool) -> Vec<OsString> {
    let mut arguments: Vec<String> =
        ["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"].map(str::to_owned).to_vec();
    arguments.push(format!("--ready-fd={ready}"));
    // When we die, our end of that pipe closes, and it exits: a second string beside `PR_SET_PDEATHSIG`.
    arguments.push(format!("--exit-fd={exit}"));
    if own_userns {
        arguments.push("--userns-path=/proc/self/fd/1".to_owned());
    }
    if root {
        // Only root's keeps its capabilities otherwise. For others it calls `setegid(0)` before it enters the user
        // namespace (1.2.0), which fails.
        arguments.extend(["--enable-sandbox", "--enable-seccomp"].map(str::to_owned));
    }
    arguments.extend(["/proc/self/fd/0", INTERFACE].map(str::to_owned));
    arguments.into_iter().map(OsString::from).collect()
}

/// The reading end of the pipe that is written to when all is set up, and the writing end whose closing ends the helper.
#[derive(Debug)]
pub struct Pipes {
    /// Readable when ready.
    pub ready: File,
    /// Held, never written to.
    #[expect(dead_code, reason = "its closing is the message")]
    exit: OwnedFd,
}

/// Starts `program` for `target`.
pub fn start(program: &Path, target: NetTarget) -> Result<(Running, Pipes), ProcessError> {
    let pipe = || {
        pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| ProcessError::Start { program: program.to_owned(), source: errno.into() })
    };
    let ((ready, ready_writer), (exit_reader, exit)) = (pipe()?, pipe()?);
    let root = rustix::process::geteuid().is_root();
    let arguments = arguments(ready_writer.as_raw_fd(), exit_reader.as_raw_fd(), target.user.is_some(), root);
    let mut command = Program::new(program).args(arguments).stdin(target.net).long_lived();
    if let Some(user) = target.user {
        command = command.stdout(user);
    }
    let running = command.inherit(ready_writer).inherit(exit_reader).start()?;
    Ok((running, Pipes { ready: ready.into(), exit }))
}
