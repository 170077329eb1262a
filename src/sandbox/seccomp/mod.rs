//! The seccomp filter of a box: which system calls its processes may make.
//!
//! ```text
//! default_policy() --emulate_root(), emulate_ids(), single mode only--> Policy --reporting(), compile()--> Program --install()--> kernel
//!                                                       Policy --decide()--> sandbox::denied <--listener-- kernel
//! ```
//!
//! Everything but `install` is pure. The supervisor compiles once per box; init and the sessions inherit the filter by
//! being its children, so nothing is cached elsewhere.
//!
//! What it leaves out: arguments that are pointers cannot be examined (paths, `clone3`, extended attributes), and
//! binaries of another architecture, 32-bit x86 ones included, get ENOSYS for every call, because their numbers mean
//! other calls.

mod compiler;
mod custom;
mod default;
mod emulate;
#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod tests;

pub use default::default_policy;
pub use emulate::{emulate_ids, emulate_root};

use std::os::fd::OwnedFd;

use crate::profile::Security;
use crate::sys::SysResult;
use crate::sys::seccomp;
use crate::userns::idmap::IdMode;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// It fails with this errno, at most 4095; with 0 it does nothing and succeeds.
    Errno(u16),
    /// It does nothing and succeeds; who listens writes down the owner that it was to give to a file, or the id that
    /// it was to give to the process.
    Remember,
    /// The kernel carries it out, unless who listens knows of owners or ids that are to be shown instead.
    Pretend,
    /// The thread gets SIGSYS.
    Trap,
    /// It waits for an answer by who holds the listener; without a listener it fails with ENOSYS.
    Notify,
    /// The process dies of SIGSYS.
    KillProcess,
}

/// How an argument and the value are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `argument & mask == value`.
    Equal,
    /// `argument & mask != value`.
    NotEqual,
}

/// A test of one argument, 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgTest {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// The bits that count. The kernel reads only the low half of an `int`, so a test of one must mask the high half.
    pub mask: u64,
    /// How to compare.
    pub comparison: Comparison,
    /// What to compare with.
    pub value: u64,
}

/// The bits of an argument that the kernel reads as `int` or `unsigned int`.
pub const INT: u64 = 0xffff_ffff;

impl ArgTest {
    /// The bits of `mask` are exactly `value`.
    #[must_use]
    pub const fn is(argument: u8, mask: u64, value: u64) -> Self {
        Self { argument, mask, comparison: Comparison::Equal, value }
    }

    /// At least one bit of `mask` is set.
    #[must_use]
    pub const fn any(argument: u8, mask: u64) -> Self {
        Self { argument, mask, comparison: Comparison::NotEqual, value: 0 }
    }
}

/// One call, the arguments it must have (all of them; none: whatever the arguments), and what happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The number on the architecture this is built for. A number that no call can have never matches.
    pub syscall: i64,
    /// All must hold.
    pub when: Vec<ArgTest>,
    /// What happens.
    pub action: Action,
}

impl Rule {
    /// `action`, whatever the arguments.
    #[must_use]
    pub const fn always(syscall: i64, action: Action) -> Self {
        Self { syscall, when: Vec::new(), action }
    }

    /// `action` if all of `when` hold.
    #[must_use]
    pub fn when(syscall: i64, when: impl Into<Vec<ArgTest>>, action: Action) -> Self {
        Self { syscall, when: when.into(), action }
    }
}

/// Which calls a box may make: the first rule of a call that matches decides, else `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For calls without a matching rule.
    pub default: Action,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Refused without asking: `clone3`, which C libraries try at each start of a thread, and `sendmsg`, with which a listener is
/// given away.
const KEPT_FROM_LISTENERS: [i64; 2] = [libc::SYS_clone3, libc::SYS_sendmsg];

impl Policy {
    /// What happens to a call of the architecture this is built for.
    #[must_use]
    pub fn decide(&self, number: i64, arguments: &[u64; 6]) -> Action {
        let holds = |test: &ArgTest| {
            let equal = arguments[usize::from(test.argument)] & test.mask == test.value;
            equal == (test.comparison == Comparison::Equal)
        };
        let matches = |rule: &&Rule| rule.syscall == number && rule.when.iter().all(holds);
        self.rules.iter().find(matches).map_or(self.default, |rule| rule.action)
    }

    /// The same policy, with the calls that a rule refuses, and those that owners and ids are remembered and shown by, passed on to
    /// a listener, which answers as [`Self::decide`] says.
    ///
    /// Not passed on: calls that nobody knows, and [`KEPT_FROM_LISTENERS`].
    #[must_use]
    pub fn reporting(&self) -> Self {
        let mut policy = self.clone();
        for rule in &mut policy.rules {
            let is_refused = matches!(rule.action, Action::Errno(1..)) && !KEPT_FROM_LISTENERS.contains(&rule.syscall);
            if is_refused || matches!(rule.action, Action::Remember | Action::Pretend) {
                rule.action = Action::Notify;
            }
        }
        policy
    }
}

/// A policy as the kernel takes it: classic BPF instructions.
#[derive(Clone)]
pub struct Program(Vec<libc::sock_filter>);

impl Program {
    /// Translates `policy` for the architecture this is built for.
    ///
    /// Calls through another architecture's entry (32-bit x86 and x32 on x86-64, 32-bit ARM on aarch64) get ENOSYS.
    #[must_use]
    pub fn compile(policy: &Policy) -> Self {
        Self(compiler::compile(policy))
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[libc::sock_filter] {
        &self.0
    }

    /// Puts the filter on the calling thread and all it starts; see [`seccomp::install`] for what the caller needs.
    pub fn install(&self) -> SysResult<()> {
        seccomp::install(&self.0)
    }

    /// As [`Self::install`], and gives the listener for [`Action::Notify`].
    pub fn install_with_listener(&self) -> SysResult<OwnedFd> {
        seccomp::install_with_listener(&self.0)
    }
}

/// What a box may call whose ids are mapped in this way, and whose profile says this.
#[must_use]
pub fn policy_for(mode: IdMode, security: &Security) -> Policy {
    let changes = &security.seccomp;
    let policy = custom::allow(default_policy(), changes);
    let policy = match mode {
        IdMode::Single if security.emulate_ids => emulate_ids(emulate_root(policy)),
        IdMode::Single => emulate_root(policy),
        IdMode::Range | IdMode::Root => policy,
    };
    custom::deny(policy, changes)
}

/// The filter of a box.
#[derive(Clone)]
pub struct Filter {
    policy: Policy,
    /// With refused calls passed on, if somebody is there to listen.
    reporting: Option<Program>,
}

impl Filter {
    /// What is refused fails at once.
    #[must_use]
    pub fn silent(policy: Policy) -> Self {
        Self { policy, reporting: None }
    }

    /// What is refused is passed on first, where that is possible.
    #[must_use]
    pub fn reporting(policy: Policy) -> Self {
        let reporting = Some(Program::compile(&policy.reporting()));
        Self { policy, reporting }
    }

    /// Puts the filter on the calling thread and all it starts; gives the listener.
    ///
    /// There is none below a filter that has one already, as in a box within a container that emulates calls: the kernel allows one
    /// listener for each process. What is refused then fails at once.
    pub fn install(&self) -> SysResult<Option<OwnedFd>> {
        match self.reporting.as_ref().map(Program::install_with_listener) {
            Some(Ok(listener)) => Ok(Some(listener)),
            Some(Err(_)) | None => Program::compile(&self.policy).install().map(|()| None),
        }
    }
}

/// The filter of a box whose ids are mapped in this way.
#[cfg(test)]
pub fn program_for(mode: IdMode) -> Program {
    Program::compile(&policy_for(mode, &Security::default()))
}
