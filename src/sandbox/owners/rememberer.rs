//! The rememberer: a process that finds the files which calls mean, and answers.
//!
//! All that it reads is a program's of the box, and all that it can do is what the box's root could do itself. What a program
//! changes while it is looked at changes only which of its own files has the attribute, or what it is told of itself.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use caps::Capability;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Emulation;
use super::caller::{Caller, Mounts};
use super::change::Change;
use super::create::{Answered, Creation};
use super::execute::Execution;
use super::identity::Identities;
use super::peer::Question;
use super::shown::Look;
use crate::sandbox::caps::reduce_to;
use crate::sandbox::companion::{Namespaces, Parent};
use crate::sandbox::net::agent::link::{Link, Received};
use crate::sandbox::seccomp::Action;
use crate::sys::seccomp::{self, Answer, Notification};
use crate::sys::{Context, SysError, SysResult, fs, process};

/// To find files as the box's root does, write at those that are read-only, and see what its programs have open.
const CAPABILITIES: &[Capability] = &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER, Capability::CAP_SYS_PTRACE];

/// Who answers, and where.
struct Rememberer<'a> {
    listener: BorrowedFd<'a>,
    mounts: Mounts,
    /// Where processes are given ids.
    identities: Option<Identities>,
}

/// Answers the changes of owner that come over `link`, until the supervisor is gone.
pub fn remember(namespaces: &Namespaces, listener: BorrowedFd<'_>, link: &Link, supervisor: Parent) -> SysResult<()> {
    let mut rememberer = Rememberer::settle(namespaces, listener, link, supervisor, None)?;
    while let Received::Message(call, _) = link.receive::<Notification>()? {
        rememberer.answer(&call)?;
    }
    Ok(())
}

/// Answers the calls that come to `listener`, and passes on those that are no business of it; until no process of the box is left.
pub fn emulate(
    namespaces: &Namespaces,
    listener: BorrowedFd<'_>,
    link: &mut Link,
    supervisor: Parent,
    emulation: &Emulation,
) -> SysResult<()> {
    let mut rememberer = Rememberer::settle(namespaces, listener, link, supervisor, Some(emulation))?;
    // Older kernels have no such thing, and take longer.
    seccomp::share_processor(listener).ok();
    loop {
        match seccomp::receive(listener)? {
            Some(call) => match emulation.policy.decide(i64::from(call.number), &call.arguments) {
                Action::Remember | Action::Pretend => rememberer.answer(&call)?,
                _ => link.send(&call, Vec::new())?,
            },
            None if is_deserted(listener)? => return Ok(()),
            // The caller has given up.
            None => {}
        }
    }
}

/// Whether nobody is left who could call.
fn is_deserted(listener: BorrowedFd<'_>) -> SysResult<bool> {
    let mut set = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    poll(&mut set, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).call(|| "poll".to_owned())?;
    Ok(set[0].revents().contains(PollFlags::HUP))
}

impl<'a> Rememberer<'a> {
    /// Moves this process into the box's namespaces, with nothing but what it needs.
    fn settle(
        namespaces: &Namespaces,
        listener: BorrowedFd<'a>,
        link: &Link,
        supervisor: Parent,
        emulation: Option<&Emulation>,
    ) -> SysResult<Self> {
        let [user, mount] = namespaces.descriptors();
        let kept = [listener.as_raw_fd(), link.as_fd().as_raw_fd(), user, mount];
        let processes = supervisor.settle("devbox: owners", &kept, || {
            // The host's: the box's does not know this process, nor numbers threads as the listener does. From here on it is
            // the working directory, which relative paths below begin at.
            let processes = fs::open_directory(Path::new("/proc"))?;
            namespaces.enter()?;
            Ok(processes)
        })?;
        reduce_to(CAPABILITIES).map_err(|_| SysError::new("drop capabilities", Errno::PERM))?;
        rustix::process::fchdir(&processes).call(|| "fchdir `/proc`".to_owned())?;
        drop(processes);
        process::close_all_but(&[listener.as_raw_fd(), link.as_fd().as_raw_fd()])?;
        let others = emulation.map_or(&[][..], |emulation| &emulation.directories);
        let mounts = Mounts::of(others).call(|| "statx `/`".to_owned())?;
        let identities = emulation.map(|emulation| Identities::new(emulation.id));
        Ok(Self { listener, mounts, identities })
    }

    fn answer(&mut self, call: &Notification) -> SysResult<()> {
        match self.answer_to(call) {
            Answered::With(answer) => seccomp::answer(self.listener, call.id, answer),
            Answered::Already => Ok(()),
        }
    }

    /// Whatever cannot be told or done is left to the kernel, but for changes of owner.
    fn answer_to(&mut self, call: &Notification) -> Answered {
        let caller = Caller { call, listener: self.listener };
        let done = |result: Result<(), Errno>| result.map_or(Answer::Continue, |()| Answer::Return(0));
        if let Some(look) = Look::of(call) {
            return Answered::With(done(look.carry_out(&caller, &self.mounts)));
        }
        if let Some(change) = Change::of(call) {
            let giver = self.identities.as_ref().and_then(|identities| identities.of(call.thread));
            return Answered::With(failure_of(change.carry_out(&caller, &self.mounts, giver)));
        }
        let Some(identities) = &mut self.identities else { return Answered::With(Answer::Continue) };
        if let Some(answer) = identities.answer(&caller) {
            return Answered::With(answer);
        }
        if let Some(question) = Question::of(call) {
            return Answered::With(done(question.carry_out(&caller, identities)));
        }
        let Some(own) = identities.of(call.thread).cloned() else { return Answered::With(Answer::Continue) };
        if let Some(creation) = Creation::of(call) {
            let made = creation.carry_out(&caller, &self.mounts, &own);
            return made.unwrap_or(Answered::With(Answer::Continue));
        }
        if let Some(execution) = Execution::of(call)
            && let Ok(next) = execution.outcome(&caller, &self.mounts, &own)
            && next != own
        {
            // Without it the program runs as before.
            identities.give(call.thread, next).ok();
        }
        Answered::With(Answer::Continue)
    }
}

fn failure_of(result: Result<(), Errno>) -> Answer {
    let errno = result.err().map_or(0, Errno::raw_os_error);
    Answer::Fail(u16::try_from(errno).unwrap_or(libc::EIO as u16))
}
