//! From a policy to classic BPF. Pure.
//!
//! ```text
//! load arch; another one -> ENOSYS
//! load number
//! binary search over runs of numbers that are answered alike (about 6 comparisons)
//! argument tests of single calls
//! returns
//! ```
//!
//! The code is made from its end to its beginning: all jumps go forward, so each target is known when a jump to it is
//! written, and a conditional jump that cannot reach its target (more than 255 instructions) gets a plain jump as a
//! stepping stone.

use libc::sock_filter;

use super::{Action, ArgTest, Comparison, Policy, Rule};

/// `AUDIT_ARCH_X86_64` of linux/audit.h: the machine, 64 bits, little endian.
#[cfg(target_arch = "x86_64")]
pub const NATIVE_ARCH: u32 = 0xc000_003e;
/// `AUDIT_ARCH_AARCH64`.
#[cfg(target_arch = "aarch64")]
pub const NATIVE_ARCH: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the seccomp filter knows the system calls of x86-64 and aarch64");

/// Numbers from here on are x32 calls on x86-64, and no calls at all elsewhere.
const X32_BIT: u32 = 0x4000_0000;

/// `struct seccomp_data`: where the fields lie, in bytes.
pub mod offset {
    pub const NUMBER: u32 = 0;
    pub const ARCH: u32 = 4;
    /// Of the low half of argument `n`, little endian; the high half follows.
    pub const fn argument(n: u8) -> u32 {
        16 + 8 * n as u32
    }
}

/// A conditional jump reaches this far; two less, for the stepping stones that may come between.
const REACH: usize = u8::MAX as usize - 2;

/// An instruction that was already written, counted from the end of the program.
type Label = usize;

/// Translates `policy`.
pub fn compile(policy: &Policy) -> Vec<sock_filter> {
    let mut code = Backwards::default();
    let unknown = code.answer(Action::Errno(libc::ENOSYS as u16));
    let default = code.answer(policy.default);

    let mut runs: Vec<(u32, Label)> = Vec::new();
    let mut next = 0;
    for rules in sorted(policy).chunk_by(|(one, _), (other, _)| one == other) {
        let number = rules[0].0;
        if number > next {
            runs.push((next, default));
        }
        runs.push((number, code.chain(rules, default)));
        next = number + 1;
    }
    runs.extend([(next, default), (X32_BIT, unknown)]);
    runs.dedup_by_key(|(_, label)| *label);

    let search = code.search(&runs);
    if code.distance(search) > 0 {
        code.stone(search);
    }
    let number = code.load(offset::NUMBER);
    code.branch(libc::BPF_JEQ, NATIVE_ARCH, number, unknown);
    code.load(offset::ARCH);
    code.reversed.reverse();
    code.reversed
}

/// The rules that can match, by number; those of one call stay in their order.
fn sorted(policy: &Policy) -> Vec<(u32, &Rule)> {
    let number = |rule: &Rule| u32::try_from(rule.syscall).ok().filter(|number| *number < X32_BIT);
    let mut rules: Vec<_> = policy.rules.iter().filter_map(|rule| Some((number(rule)?, rule))).collect();
    rules.sort_by_key(|(number, _)| *number);
    rules
}

/// A program whose beginning is not written yet.
#[derive(Default)]
struct Backwards {
    /// The last instruction comes first.
    reversed: Vec<sock_filter>,
    answers: Vec<(Action, Label)>,
}

impl Backwards {
    fn write(&mut self, code: u32, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(sock_filter { code: code as u16, jt, jf, k });
        self.reversed.len() - 1
    }

    /// How many instructions lie between the next one to be written and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label - 1
    }

    /// Return `action`; each is written once.
    fn answer(&mut self, action: Action) -> Label {
        if let Some((_, label)) = self.answers.iter().find(|(known, _)| *known == action) {
            return *label;
        }
        let label = self.write(libc::BPF_RET | libc::BPF_K, encode(action), 0, 0);
        self.answers.push((action, label));
        label
    }

    fn load(&mut self, offset: u32) -> Label {
        self.write(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
    }

    /// Goes to `yes` if the accumulator compares with `k`, else to `no`.
    fn branch(&mut self, comparison: u32, k: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.near(yes), self.near(no));
        let (yes, no) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.write(libc::BPF_JMP | comparison | libc::BPF_K, k, yes, no)
    }

    /// `label`, or a stepping stone to it.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) <= REACH { label } else { self.stone(label) }
    }

    /// A plain jump to `label`, which reaches any distance.
    fn stone(&mut self, label: Label) -> Label {
        let distance = self.distance(label) as u32;
        self.write(libc::BPF_JMP | libc::BPF_JA, distance, 0, 0)
    }

    /// The run that holds the number in the accumulator. `runs` are in order and each reaches to the next.
    fn search(&mut self, runs: &[(u32, Label)]) -> Label {
        match runs {
            [(_, label)] => *label,
            _ => {
                let (below, from) = runs.split_at(runs.len() / 2);
                let high = self.search(from);
                let low = self.search(below);
                self.branch(libc::BPF_JGE, from[0].0, high, low)
            }
        }
    }

    /// The first of `rules` that matches, else `default`.
    fn chain(&mut self, rules: &[(u32, &Rule)], default: Label) -> Label {
        rules.iter().rev().fold(default, |otherwise, (_, rule)| {
            let matched = self.answer(rule.action);
            rule.when.iter().rev().fold(matched, |then, test| self.test(*test, then, otherwise))
        })
    }

    fn test(&mut self, test: ArgTest, holds: Label, fails: Label) -> Label {
        let (equal, different) = match test.comparison {
            Comparison::Equal => (holds, fails),
            Comparison::NotEqual => (fails, holds),
        };
        let low = offset::argument(test.argument);
        let high = self.half(low + 4, (test.mask >> 32) as u32, (test.value >> 32) as u32, equal, different);
        self.half(low, test.mask as u32, test.value as u32, high, different)
    }

    /// Compares one half of an argument; halves that cannot differ, or cannot be equal, need no code.
    fn half(&mut self, offset: u32, mask: u32, value: u32, equal: Label, different: Label) -> Label {
        if value & !mask != 0 {
            return different;
        }
        if mask == 0 {
            return equal;
        }
        let compare = self.branch(libc::BPF_JEQ, value, equal, different);
        debug_assert_eq!(compare + 1, self.reversed.len());
        if mask != u32::MAX {
            self.write(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, 0, 0);
        }
        self.load(offset)
    }
}

/// The return value of a filter for `action`.
pub fn encode(action: Action) -> u32 {
    match action {
        Action::Allow | Action::Pretend => libc::SECCOMP_RET_ALLOW,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Action::Remember => libc::SECCOMP_RET_ERRNO,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
    }
}
